"""The directory of a run: what was asked, which chunks are done, what came out.

    manifest.json        what was run, with what, and how it stands (written last; the truth about completeness)
    protocol.yaml        the resolved protocol
    cells/000/chunk-0-4096-<key>.parquet, …    the simulated trials in long form, 4,096 replicates a file
    cells/000/patients.parquet, examples.json    what `simulation.keep` asks for
    results.parquet, results.json        the operating characteristics

It lies in a local folder or in an object store (`execution.storage`); either way a name never stands for half a file. A
chunk's name is a hash of what its trials depend on (`execution.keys`), and it carries a checksum of all of its bytes. A lock
(`execution.lock`), released by the death of its holder, keeps two runs out of one directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trialsim.block import Block
from trialsim.errors import IncompleteRunError, UsageError
from trialsim.execution.chunks import chunk_key
from trialsim.execution.lock import Lock
from trialsim.execution.storage import LOCK, LocalStorage, Storage, open_storage

if TYPE_CHECKING:
    from trialsim.records import TrialRecord

MANIFEST = "manifest.json"
_CHUNK_NAME = re.compile(r"^chunk-(\d+)-(\d+)-([0-9a-f]{32})\.parquet$")
_SUM = b"trialsim-sha256:"
_UNKNOWN = b"0" * 64


class DamagedChunkError(IncompleteRunError):
    """A stored chunk that cannot be used: unreadable, of another run, or not what its name says."""


def default_directory(study: str, sha256: str) -> Path:
    """`runs/<study>-<first 8 of the hash>-<UTC time>`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", study).strip("-.") or "study"
    return Path("runs") / f"{name}-{sha256[:8]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def create_directory(where: Path | str | None, *, study: str, sha256: str) -> RunDirectory:
    """A new, empty run directory; a default name gets a number when it is taken. A directory with content is refused."""
    if where is None:
        path = wanted = default_directory(study, sha256)
        for number in range(2, 1000):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
                return RunDirectory(path)
            except OSError as error:
                if not os.path.lexists(path):
                    raise UsageError(f"{path}: the run directory cannot be created: {error.strerror or error}") from None
                path = wanted.with_name(f"{wanted.name}-{number}")
        raise UsageError(f"{wanted}: too many runs of this name")
    directory = RunDirectory(where)
    shown, storage = directory.path, directory.storage
    try:
        if isinstance(storage, LocalStorage):
            storage.where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {shown}: the run directory cannot be created: {error.strerror or error}") from None
    try:
        found = set(storage.names()) - {LOCK}
    except OSError as error:
        raise UsageError(f"--out {shown}: {error.strerror or error}") from None
    if MANIFEST in found:
        raise UsageError(f"--out {shown}: already holds a run; continue it with `trialsim resume {shown}`, or choose another directory")
    if found:
        raise UsageError(f"--out {shown}: is not empty; choose a new or empty directory")
    return directory


def open_directory(where: Path | str) -> RunDirectory:
    """The directory of a run that exists."""
    directory = RunDirectory(where)
    try:
        there = directory.storage.exists(MANIFEST)
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}") from None
    if not there:
        raise UsageError(f"{where}: holds no run (there is no {MANIFEST})")
    return directory


class RunDirectory:
    """Reads and writes the files of one run. Cheap; hold `locked()` while writing."""

    def __init__(self, where: Path | str):
        self.storage: Storage = open_storage(where)

    @property
    def path(self) -> Path | str:
        """Where it is: a path of this machine, or a URL."""
        return self.storage.where

    # -- the manifest and other small files ---------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        try:
            return dict(json.loads(self.storage.read(MANIFEST)))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path}/{MANIFEST}: cannot be read: {error}") from None

    def write_json(self, name: str, value: Any) -> None:
        """Replaces a JSON file whole."""
        self.write_text(name, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replaces a text file whole."""
        self.storage.write(name, lambda file: file.write(text.encode()))

    def write_results(self, results: dict[str, Any]) -> None:
        """`results.parquet` (the rows) and then `results.json` (the whole object)."""
        rows = results["results"]
        types = {"look": pa.int32(), "null": pa.bool_(), "estimate": pa.float64(), "mcse": pa.float64(), "n": pa.int64()}
        names = ("design", "scenario", "role", "analysis", "endpoint", "arm", "look", "measure", "scale", "null", "estimate", "mcse", "n")
        table = pa.table({name: pa.array([row[name] for row in rows], types.get(name, pa.string())) for name in names})
        self.storage.write("results.parquet", lambda file: pq.write_table(table, file))
        self.write_json("results.json", results)

    def write_tables(self, name: str, tables: Iterator[pa.Table]) -> None:
        """Tables of one schema as one Parquet file, one row group each; replaced whole."""

        def write(file: BinaryIO) -> None:
            first = next(tables)
            with pq.ParquetWriter(file, first.schema, compression="lz4") as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table)

        self.storage.write(name, write)

    def on_disk(self, of_cells: Collection[str] = ()) -> AbstractContextManager[Path]:
        """A folder of this machine with the files of the run and, of every cell, those named: the directory itself, or a copy for a while."""
        names: list[str] = []
        if not isinstance(self.storage, LocalStorage):
            names = [name for name in self.storage.names() if "." in name and name != LOCK]
            for cell in self.storage.names("cells") if of_cells else ():
                names += [f"cells/{cell}/{name}" for name in self.storage.names(f"cells/{cell}") if name in of_cells]
        return self.storage.on_disk(names)

    # -- chunks -------------------------------------------------------------------------------------------

    def cell_name(self, cell: int) -> str:
        """The folder of a cell."""
        return f"cells/{cell:03d}"

    def chunk_name(self, cell: int, key: str, chunk: Block) -> str:
        """The file of a chunk of the cell with this key (`execution.keys`)."""
        return f"{self.cell_name(cell)}/chunk-{chunk.first}-{chunk.size}-{chunk_key(key, chunk)}.parquet"

    def write_chunk(self, cell: int, key: str, record: TrialRecord) -> None:
        """Stores a chunk of the cell with this key."""
        from trialsim.execution.long_form import to_table

        table, file = to_table(record, cell=key), io.BytesIO()
        with pq.ParquetWriter(file, table.schema, compression="lz4", use_dictionary=["analysis"], write_statistics=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"checksum": (_SUM + _UNKNOWN).decode()})
        content = bytearray(file.getbuffer())
        at = _sum_at(content)
        content[at : at + len(_UNKNOWN)] = _checksum(content, at)
        self.storage.write(self.chunk_name(cell, key, record.block), lambda target: target.write(content))

    def read_chunk(self, cell: int, key: str, chunk: Block) -> TrialRecord:
        """A stored chunk, its checksum verified. DamagedChunkError names the file."""
        from trialsim.execution.long_form import SCHEMA, describe, from_table

        name = self.chunk_name(cell, key, chunk)
        try:
            content = self._sound(name)
            with pq.ParquetFile(pa.BufferReader(content)) as file:
                about = describe(file.schema_arrow)
                if (about["schema"], about["cell"], about["first"], about["size"]) != (SCHEMA, key, chunk.first, chunk.size):
                    raise ValueError("it is of another run")
                return from_table(file.read(use_threads=False))
        except (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DamagedChunkError(f"{self.path}/{name}: cannot be used: {said.splitlines()[0]}") from None

    def damage(self, cell: int, key: str, chunk: Block) -> str:
        """What is wrong with a stored chunk, by its checksum; empty: nothing."""
        try:
            self._sound(self.chunk_name(cell, key, chunk))
            return ""
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)

    def _sound(self, name: str) -> bytes:
        """The bytes of a chunk; ValueError where one of them is not what was written."""
        content = self.storage.read(name)
        at = _sum_at(content)
        if at < 0 or content[at : at + len(_UNKNOWN)] != _checksum(content, at):
            raise ValueError("it is damaged (its checksum does not agree)")
        return content

    def stored_chunks(self, cell: int, key: str) -> list[Block]:
        """The chunks of the cell with this key that are there, by name, in replicate order."""
        matches = (_CHUNK_NAME.match(name) for name in self.storage.names(self.cell_name(cell)))
        found = ((Block(int(match[1]), int(match[2])), match[3]) for match in matches if match)
        return sorted((chunk for chunk, name in found if name == chunk_key(key, chunk)), key=lambda block: (block.first, block.size))

    def has_chunk(self, cell: int, key: str, chunk: Block) -> bool:
        """Whether a chunk is to be seen from here."""
        return self.storage.exists(self.chunk_name(cell, key, chunk))

    def remove_chunk(self, cell: int, key: str, chunk: Block) -> None:
        """Deletes a chunk (the short last one of a run that has grown since)."""
        self.storage.remove(self.chunk_name(cell, key, chunk))

    # -- the lock -----------------------------------------------------------------------------------------

    def locked(self) -> Lock:
        """Holds the directory for writing, in a `with`; UsageError when another process does."""
        return self.storage.lock()

    def is_running(self) -> bool:
        """Whether a living process holds the lock."""
        return self.storage.lock().is_held()


def _sum_at(content: bytes | bytearray) -> int:
    """Where the checksum's hexadecimal digits begin (in the footer, behind all data); -1: there is none."""
    found = content.rfind(_SUM)
    return -1 if found < 0 else found + len(_SUM)


def _checksum(content: bytes | bytearray, at: int) -> bytes:
    """The SHA-256 of all bytes, with zeros where it stands itself."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(_UNKNOWN)
    digest.update(view[at + len(_UNKNOWN) :])
    return digest.hexdigest().encode()
