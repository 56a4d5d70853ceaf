"""Where the files of a run lie: a local folder, or any place that fsspec reaches (`s3://bucket/x`, `gs://…`, `memory://…`).

    open_storage("runs/x")       LocalStorage: written under another name, synced, renamed; the lock is a file lock
    open_storage("s3://b/x")     ObjectStorage: an object is written whole or not at all; the lock is an object with a heartbeat

So nothing half-written ever has the name of something whole. Names are relative, with `/`. Everything a store refuses is an
OSError. The drivers of object stores (s3fs, gcsfs, adlfs, …) are for the user to install; credentials are theirs to find.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from trialsim.errors import UsageError, did_you_mean
from trialsim.execution.lock import FileLock, Lock, ObjectLock

LOCK = "run.lock"
LOCAL = ("file", "local")
PRIVATE = ("memory",)


class Storage(Protocol):
    """A flat view of the files of one run. Cheap, and crosses to worker processes by pickle."""

    @property
    def where(self) -> Path | str:
        """As the user knows it."""

    @property
    def shared(self) -> bool:
        """Whether other processes see what this one writes."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; FileNotFoundError where there is none."""

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Replaces a file whole."""

    def names(self, folder: str = "") -> list[str]:
        """What a folder holds, without the folder's name, in order; empty where there is no such folder."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""

    def remove_leftovers(self) -> None:
        """Deletes what was being written when a process was killed."""

    def on_disk(self, names: list[str]) -> AbstractContextManager[Path]:
        """A folder of this machine that holds these files."""

    def lock(self) -> Lock:
        """The lock of this place."""


def open_storage(where: Path | str) -> Storage:
    """The storage at a path or an fsspec URL. UsageError where fsspec does not know the protocol or lacks its package."""
    protocol, separator, rest = str(where).partition("://")
    if not separator:
        return LocalStorage(Path(where))
    return LocalStorage(Path(rest)) if protocol in LOCAL else ObjectStorage(str(where))


class LocalStorage:
    """A folder of this machine, or of one it shares."""

    shared = True

    def __init__(self, path: Path):
        self.where = path
        self._root = path.absolute()  # a worker's working directory may be another

    def __str__(self) -> str:
        return str(self.where)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
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

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(item.name for item in (self._root / folder).iterdir())
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        return (self._root / name).is_file()

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        for leftover in self._root.rglob(".*.writing-*"):
            leftover.unlink(missing_ok=True)

    @contextmanager
    def on_disk(self, names: list[str]) -> Iterator[Path]:
        yield self.where

    def lock(self) -> Lock:
        return FileLock(self._root / LOCK, shown=str(self))


class ObjectStorage:
    """A place that fsspec reaches by a URL."""

    def __init__(self, url: str):
        self.where = url.rstrip("/")
        self.shared = url.partition("://")[0] not in PRIVATE
        self._connect()

    def _connect(self) -> None:
        with _refusals(self.where):
            self._fs, self._root = _file_system(self.where)

    def __getstate__(self) -> dict[str, Any]:
        return {"where": self.where, "shared": self.shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()

    def __str__(self) -> str:
        return self.where

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        with _refusals(f"{self}/{name}"):
            return bytes(self._fs.cat_file(self._path(name)))

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        with tempfile.TemporaryDirectory(prefix="trialsim-") as folder:  # whole before it is sent
            path = Path(folder) / "file"
            with open(path, "wb") as file:
                write(file)
            with _refusals(f"{self}/{name}"):
                self._fs.put_file(str(path), self._path(name))

    def names(self, folder: str = "") -> list[str]:
        with _refusals(f"{self}/{folder}"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found if str(path).strip("/") != self._path(folder).strip("/"))

    def exists(self, name: str) -> bool:
        with _refusals(f"{self}/{name}"):
            self._fs.invalidate_cache()
            return bool(self._fs.isfile(self._path(name)))

    def remove(self, name: str) -> None:
        with _refusals(f"{self}/{name}"):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def remove_leftovers(self) -> None:
        """There are none: an object is written whole."""

    @contextmanager
    def on_disk(self, names: list[str]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="trialsim-") as folder:
            for name in names:
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.read(name))
            yield Path(folder)

    def lock(self) -> Lock:
        return ObjectLock(self._fs, self._path(LOCK), shown=str(self))


def _file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path on it."""
    import fsspec

    protocol = url.partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise UsageError(f"{url}: no storage is called {protocol}://{did_you_mean(protocol, fsspec.available_protocols())}")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None)
        raise UsageError(f"{url}: {protocol}:// needs the Python package {missing}; install it with `pip install {missing}`") from None
    return found


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Whatever a driver raises, as an OSError that says of what in one line."""
    try:
        yield
    except (UsageError, FileNotFoundError):
        raise
    except Exception as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise OSError(getattr(error, "errno", None) or 5, said[0], what) from error
