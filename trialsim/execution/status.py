"""How a run stands: what its directory holds, whatever its manifest last said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trialsim.execution.chunks import chunks_of
from trialsim.execution.manifest import planned_cells
from trialsim.execution.storage import LocalStorage
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
    """`state` is running (a living process works on it), complete, incomplete (resumable) or failed (see `error`).

    `damaged`: what is wrong with chunks that are there and cannot be used; `verified`: whether their checksums were looked at.
    """

    path: str
    study: str
    protocol_sha256: str
    state: str
    started: str
    finished: str | None
    error: str | None
    cells: tuple[CellStatus, ...]
    damaged: tuple[str, ...]
    verified: bool

    def as_dict(self) -> dict[str, Any]:
        return {"schema": "trialsim.status/1", **asdict(self)}


def run_status(path: Path | str, *, verify: bool | None = None) -> RunStatus:
    """Counts the chunks that are there and sound, and asks the lock who lives.

    A chunk has its name only once it is whole; `verify` reads it too and compares its checksum. None: in a local folder, not
    in an object store, from which everything would have to be fetched.
    """
    directory = open_directory(path)
    verify = isinstance(directory.storage, LocalStorage) if verify is None else verify
    alive = directory.is_running()
    manifest = directory.manifest()
    cells, damaged = [], []
    for index, cell in enumerate(planned_cells(manifest)):
        wanted = set(chunks_of(cell.replicates))
        stored = 0
        for chunk in directory.stored_chunks(index, cell.key):
            if chunk not in wanted:
                continue
            wrong = directory.damage(index, cell.key, chunk) if verify else ""
            if wrong:
                damaged.append(f"{directory.path}/{directory.chunk_name(index, cell.key, chunk)}: {wrong}")
            else:
                stored += chunk.size
        cells.append(CellStatus(cell.design, cell.scenario, cell.role, stored, cell.replicates))
    state = manifest["state"]
    if alive:
        state = "running"
    elif state == "running" or (state == "complete" and any(cell.stored < cell.replicates for cell in cells)):
        state = "incomplete"
    return RunStatus(
        path=str(path),
        study=manifest["study"],
        protocol_sha256=manifest["protocol_sha256"],
        state=state,
        started=manifest["started"],
        finished=manifest["finished"],
        error=manifest.get("error"),
        cells=tuple(cells),
        damaged=tuple(damaged),
        verified=verify,
    )
