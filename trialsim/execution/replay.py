"""One simulated trial of a run, made again alone: the same patients, looks and numbers as in the run.

Every draw is addressed by replicate, so that nothing else need be simulated. Where the run has stored the trial, both
stories are compared, number by number, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trialsim.errors import UsageError, did_you_mean
from trialsim.execution.device import resolve_device
from trialsim.execution.manifest import PlannedCell, planned_cells
from trialsim.execution.run import other_engine, stored_study
from trialsim.execution.store import DamagedChunkError, RunDirectory, open_directory
from trialsim.execution.story import story
from trialsim.rng import Block
from trialsim.simulate import Trial, compile_trial, simulate

SCHEMA = "trialsim.replay/1"


@dataclass(frozen=True, slots=True)
class Replay:
    """`story` is that of `execution.story`. `same_as_stored`: None where the run has not stored this trial, or not soundly, or on CUDA.

    `other_engine` says what the run was made with that is not what is here.
    """

    study: str
    protocol_sha256: str
    seed: int
    cell: PlannedCell
    story: dict[str, Any]
    same_as_stored: bool | None
    other_engine: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "study": self.study,
            "protocol_sha256": self.protocol_sha256,
            "seed": self.seed,
            "design": self.cell.design,
            "scenario": self.cell.scenario,
            "role": self.cell.role,
            "same_as_stored": self.same_as_stored,
            **self.story,
        }


def replay_trial(path: Path | str, *, design: str | None, scenario: str | None, replicate: int, device: str | None = None) -> Replay:
    """Simulate one replicate of one cell of a run, complete or not, on a device (None: the run's).

    `design` and `scenario` may be left out where the run has one. UsageError where there is no such run, cell, replicate or
    device.
    """
    directory = open_directory(path)
    manifest = directory.manifest()
    cells = planned_cells(manifest)
    index = _chosen(cells, design=design, scenario=scenario)
    cell = cells[index]
    if not 0 <= replicate < cell.replicates:
        nearest = 0 if replicate < 0 else cell.replicates - 1
        raise UsageError(f"--replicate {replicate}: {cell} has the replicates 0 to {cell.replicates - 1}; the nearest is {nearest}")
    study = stored_study(directory, manifest)
    by_name = {(found.design, found.scenario): found for found in study.cells({})}
    device = resolve_device(device or manifest["device"])
    trial = compile_trial(by_name[cell.design, cell.scenario], Path(manifest["folder"]), device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a run: sums keep their order
    try:
        told = story(trial, simulate(trial, Block(replicate, 1)), replicate)
    finally:
        torch.set_num_threads(threads)
    # Bits are those of one device; on CUDA also those of one block, so that a trial alone need not have them.
    stored = _stored(directory, index, cell, trial, replicate) if device == manifest["device"] == "cpu" else None
    return Replay(
        study=manifest["study"],
        protocol_sha256=manifest["protocol_sha256"],
        seed=manifest["seed"],
        cell=cell,
        story=told,
        same_as_stored=None if stored is None else stored == told,
        other_engine=other_engine(manifest),
    )


def _chosen(cells: Sequence[PlannedCell], *, design: str | None, scenario: str | None) -> int:
    """The place of the one cell with these names."""
    asked = {"design": design, "scenario": scenario}
    for kind, name in asked.items():
        names = list(dict.fromkeys(getattr(cell, kind) for cell in cells))
        if name is None and len(names) > 1:
            raise UsageError(f"--{kind}: this run has several; name one of: {', '.join(names)}")
        if name is not None and name not in names:
            raise UsageError(f'--{kind} {name}: no {kind} "{name}" in this run{did_you_mean(name, names)}')
    # Every design is run under every scenario.
    return next(index for index, cell in enumerate(cells) if design in (None, cell.design) and scenario in (None, cell.scenario))


def _stored(directory: RunDirectory, index: int, cell: PlannedCell, trial: Trial, replicate: int) -> dict[str, Any] | None:
    """The story of the stored trial."""
    for chunk in directory.stored_chunks(index, cell.key):
        if chunk.first <= replicate < chunk.first + chunk.size:
            try:
                return story(trial, directory.read_chunk(index, cell.key, chunk), replicate)
            except DamagedChunkError:
                return None
    return None
