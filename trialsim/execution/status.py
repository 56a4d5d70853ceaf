"""How a run stands: what its directory holds, whatever its manifest last said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trialsim.execution.chunks import chunks_of
from trialsim.execution.manifest import planned_cells
from trialsim.execution.store import open_directory


@dataclass(frozen=True, slots=True)
class CellStatus:
    """How many replicates of a cell are stored, of how many."""

    design: str
    scenario: str
    role: str
    stored: int
    replicates: int


@dataclass(frozen=True, slots=True)
class RunStatus:
    """`state` is running (a living process works on it), complete, incomplete (resumable) or failed (see `error`)."""

    path: str
    study: str
    protocol_sha256: str
    state: str
    started: str
    finished: str | None
    error: str | None
    cells: tuple[CellStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"schema": "trialsim.status/1", **asdict(self)}


def run_status(path: Path) -> RunStatus:
    """Counts the chunks that are there (by name: a chunk has its name only once it is whole) and asks the lock who lives."""
    directory = open_directory(path)
    alive = directory.is_running()
    manifest = directory.manifest()
    cells = []
    for index, cell in enumerate(planned_cells(manifest)):
        wanted = set(chunks_of(cell.replicates))
        stored = sum(chunk.size for chunk in directory.stored_chunks(index) if chunk in wanted)
        cells.append(CellStatus(cell.design, cell.scenario, cell.role, stored, cell.replicates))
    state = manifest["state"]
    if alive:
        state = "running"
    elif state == "running" or (state == "complete" and any(cell.stored < cell.replicates for cell in cells)):
        state = "incomplete"
    return RunStatus(
        str(path), manifest["study"], manifest["protocol_sha256"], state, manifest["started"], manifest["finished"], manifest.get("error"), tuple(cells)
    )
