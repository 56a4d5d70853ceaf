"""The directory of a run: what was asked, which chunks are done, what came out.

    manifest.json        what was run, with what, and how it stands (written last; the truth about completeness)
    protocol.yaml        the resolved protocol
    cells/000/chunk-0-4096.parquet, …    the simulated trials in long form, 4,096 replicates a file
    cells/000/patients.parquet, examples.json    what `simulation.keep` asks for
    results.parquet, results.json        the operating characteristics

A file is written under another name, synced and renamed, so that nothing half-written has the name of something whole.
A lock (`run.lock`, held by the running process and released by its death) keeps two runs out of one directory.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution.long_form import SCHEMA, describe, from_table, to_table
from trialsim.records import TrialRecord
from trialsim.rng import Block

_CHUNK_NAME = re.compile(r"^chunk-(\d+)-(\d+)\.parquet$")


class DamagedChunkError(IncompleteRunError):
    """A stored chunk that cannot be used: unreadable, of another run, or not what its name says."""


def default_directory(study: str, sha256: str) -> Path:
    """`runs/<study>-<first 8 of the hash>-<UTC time>`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", study).strip("-.") or "study"
    return Path("runs") / f"{name}-{sha256[:8]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def create_directory(path: Path | None, *, study: str, sha256: str) -> RunDirectory:
    """A new, empty run directory; a default name gets a number when it is taken. A directory with content is refused."""
    if path is None:
        path = wanted = default_directory(study, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in range(2, 1000):
            try:
                path.mkdir()
                return RunDirectory(path)
            except FileExistsError:
                path = wanted.with_name(f"{wanted.name}-{number}")
        raise UsageError(f"{wanted}: too many runs of this name")
    try:
        path.mkdir(parents=True, exist_ok=True)
        found = {item.name for item in path.iterdir()} - {"run.lock"}
    except OSError as error:
        raise UsageError(f"--out {path}: {error.strerror or error}") from None
    if "manifest.json" in found:
        raise UsageError(f"--out {path}: already holds a run; continue it with `trialsim resume {path}`, or choose another directory")
    if found:
        raise UsageError(f"--out {path}: is not empty; choose a new or empty directory")
    return RunDirectory(path)


def open_directory(path: Path) -> RunDirectory:
    """The directory of a run that exists."""
    if not (path / "manifest.json").is_file():
        raise UsageError(f"{path}: holds no run (there is no manifest.json)")
    return RunDirectory(path)


class RunDirectory:
    """Reads and writes the files of one run. Cheap; hold `locked()` while writing."""

    def __init__(self, path: Path):
        self.path = path

    # -- the manifest and other small files ---------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        try:
            return dict(json.loads((self.path / "manifest.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path / 'manifest.json'}: cannot be read: {error}") from None

    def write_json(self, name: str, value: Any) -> None:
        """Replaces a JSON file whole."""
        self.write_text(name, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replaces a text file whole."""
        _replace(self.path / name, lambda file: file.write(text.encode()))

    def write_results(self, results: dict[str, Any]) -> None:
        """`results.parquet` (the rows) and then `results.json` (the whole object)."""
        rows = results["results"]
        types = {"look": pa.int32(), "null": pa.bool_(), "estimate": pa.float64(), "mcse": pa.float64(), "n": pa.int64()}
        names = ("design", "scenario", "role", "analysis", "endpoint", "arm", "look", "measure", "scale", "null", "estimate", "mcse", "n")
        table = pa.table({name: pa.array([row[name] for row in rows], types.get(name, pa.string())) for name in names})
        _replace(self.path / "results.parquet", lambda file: pq.write_table(table, file))
        self.write_json("results.json", results)

    def write_tables(self, path: Path, tables: Iterator[pa.Table]) -> None:
        """Tables of one schema as one Parquet file, one row group each; replaced whole."""

        def write(file: BinaryIO) -> None:
            first = next(tables)
            with pq.ParquetWriter(file, first.schema, compression="lz4") as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table)

        _replace(path, write)

    # -- chunks -------------------------------------------------------------------------------------------

    def cell_path(self, cell: int) -> Path:
        return self.path / "cells" / f"{cell:03d}"

    def chunk_path(self, cell: int, chunk: Block) -> Path:
        return self.cell_path(cell) / f"chunk-{chunk.first}-{chunk.size}.parquet"

    def write_chunk(self, cell: int, sha256: str, record: TrialRecord) -> None:
        """Stores a chunk of the cell with this hash."""
        path = self.chunk_path(cell, record.block)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = to_table(record, cell=sha256)

        def write(file: BinaryIO) -> None:
            pq.write_table(table, file, compression="lz4", use_dictionary=["analysis"], write_statistics=False, write_page_checksum=True)

        _replace(path, write)

    def read_chunk(self, cell: int, sha256: str, chunk: Block) -> TrialRecord:
        """A stored chunk, checksums verified. DamagedChunkError names the file."""
        path = self.chunk_path(cell, chunk)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                about = describe(file.schema_arrow)
                if (about["schema"], about["cell"], about["first"], about["size"]) != (SCHEMA, sha256, chunk.first, chunk.size):
                    raise ValueError("it is of another run")
                record = from_table(file.read(use_threads=False))
            if not bool(record.reached[:, 0].all()):
                raise ValueError("replicates are missing")
            return record
        except (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
            raise DamagedChunkError(f"{path}: cannot be used: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None

    def stored_chunks(self, cell: int) -> list[Block]:
        """The chunks that are there, by name, in replicate order."""
        folder = self.cell_path(cell)
        if not folder.is_dir():
            return []
        names = (_CHUNK_NAME.match(item.name) for item in folder.iterdir())
        return sorted((Block(int(match[1]), int(match[2])) for match in names if match), key=lambda block: block.first)

    def remove_leftovers(self) -> None:
        """Deletes files that were being written when a run was killed."""
        for leftover in self.path.rglob(".*.writing-*"):
            leftover.unlink(missing_ok=True)

    # -- the lock -----------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for writing; UsageError when another process does."""
        with open(self.path / "run.lock", "a+") as file:
            for attempt in range(4):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if attempt < 3:  # `status` may be looking
                        time.sleep(0.05)
                        continue
                    file.seek(0)
                    holder = file.read().strip()
                    raise UsageError(f"{self.path}: another trialsim process{f' ({holder})' if holder else ''} is running here") from None
            file.truncate(0)
            file.write(f"pid {os.getpid()}")
            file.flush()
            yield

    def is_running(self) -> bool:
        """Whether a living process holds the lock."""
        try:
            with open(self.path / "run.lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file so that its name never stands for anything less than all of it."""
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
