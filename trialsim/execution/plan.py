"""A run before it is made: its cells, how many replicates, how long, how much memory and disk. Nothing is kept.

Each distinct cell has a pilot (`execution.pilot`). Where the protocol has precision targets, the pilot's variances say how
many replicates they will take, and whether they are met before the cell's ceiling. Estimates: times are of this machine as
busy as it is now, and replicates needed are known about as well as a variance from some hundred replicates is. What
`simulation.keep` writes is not in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trialsim.errors import UsageError
from trialsim.evaluation.precision import shortfall
from trialsim.evaluation.results import CellLabels
from trialsim.execution import chunks
from trialsim.execution.device import resolve_device
from trialsim.execution.executors import n_cores
from trialsim.execution.executors.local import WORTH_A_POOL
from trialsim.execution.pilot import Pilot, fly, n_chunks, peak_memory
from trialsim.execution.until_precise import require_results
from trialsim.simulate import compile_trial
from trialsim.spec import Cell, Study

SCHEMA = "trialsim.plan/1"


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """A precision target of a cell (times in days): what it takes, and the MCSE expected of the replicates planned."""

    measure: str
    target: float
    replicates_needed: int | None
    expected_mcse: float | None


@dataclass(frozen=True, slots=True)
class CellPlan:
    """`replicates` are expected; `ceiling` is the most there may be. `binds`: what stops the cell, `target_mcse` or `replicates`."""

    design: str
    scenario: str
    role: str
    replicates: int
    ceiling: int
    binds: str
    target_mcse: tuple[PlannedTarget, ...]
    seconds: float
    disk_bytes: int
    pilot_replicates: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` are of one core (and the GPU, on CUDA); `memory_bytes` of one worker at its most, without the GPU's."""

    study: str
    protocol_sha256: str
    seed: int
    cells: tuple[CellPlan, ...]
    replicates: int
    workers: int
    seconds: float
    wall_seconds: float
    memory_bytes: int
    disk_bytes: int
    device: str

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def plan_run(
    study: Study,
    *,
    only: Mapping[str, str],
    replicates: int | None = None,
    workers: int | None = None,
    block_size: int | None = None,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """The plan of `run` with the same arguments. Refuses what a run refuses, and a target of which no cell has a result."""
    device = resolve_device(device)
    study.require_runnable()
    cells = study.cells(only)
    if not cells:
        raise UsageError("--only: no cell is left to run")
    pilots: dict[tuple[str, str], Pilot] = {}
    trials = []
    for number, cell in enumerate(cells, 1):
        trials.append(compile_trial(cell, study.directory, device=device))
        if (cell.sha256, cell.role) not in pilots:
            if progress is not None:
                progress(f"pilot of {cell.scenario if cell.design == 'default' else f'{cell.design},{cell.scenario}'} ({number} of {len(cells)})")
            pilots[cell.sha256, cell.role] = fly(trials[-1], CellLabels(cell.design, cell.scenario, cell.role), block_size=block_size)
    require_results(trials)
    planned = tuple(plan_cell(cell, pilots[cell.sha256, cell.role], replicates or cell.replicates) for cell in cells)
    seconds = sum(cell.seconds for cell in planned)
    used = workers or (n_cores() if seconds > WORTH_A_POOL and device == "cpu" else 1)
    return Plan(
        study=study.id,
        protocol_sha256=study.sha256,
        seed=trials[0].seed,
        cells=planned,
        replicates=sum(cell.replicates for cell in planned),
        workers=used,
        seconds=seconds,
        wall_seconds=max(seconds / used, max(cell.seconds / n_chunks(cell.replicates) for cell in planned)),
        memory_bytes=peak_memory() + max(pilot.chunk_memory for pilot in pilots.values()),
        disk_bytes=sum(cell.disk_bytes for cell in planned),
        device=device,
    )


def plan_cell(cell: Cell, pilot: Pilot, ceiling: int) -> CellPlan:
    """What the pilot says about a cell with at most so many replicates."""
    targets = cell.protocol.simulation.precision()
    needed = {measure: factor * pilot.n for measure, factor in shortfall(pilot.summaries, targets).items()}
    expected = ceiling
    if needed and max(needed.values()) < ceiling:
        expected = min(ceiling, chunks.CHUNK * max(1, math.ceil(max(needed.values()) / chunks.CHUNK)))
    return CellPlan(
        design=cell.design,
        scenario=cell.scenario,
        role=cell.role,
        replicates=expected,
        ceiling=ceiling,
        binds="target_mcse" if expected < ceiling else "replicates",
        target_mcse=tuple(
            PlannedTarget(measure, targets[measure], None, None)
            if math.isinf(n)
            else PlannedTarget(measure, targets[measure], max(1, math.ceil(n)), targets[measure] * math.sqrt(n / expected))
            for measure, n in needed.items()
        ),
        seconds=pilot.seconds(expected),
        disk_bytes=pilot.bytes(expected),
        pilot_replicates=pilot.n,
    )
