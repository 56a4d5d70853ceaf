"""Files that appear whole or not at all, and writers that wait for each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem


def write_whole(path: Path, text: str) -> None:
    """Replaces a file by this text at once; it reaches the disk before the name does. DataError where it cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from None
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock that stands for `path` (on `.<name>.lock` beside it, so that `path` itself may be replaced).

    It binds processes on one machine (POSIX `flock`); on network file systems it binds what the server supports. DataError
    where nothing can be written there.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("a")
    except OSError as error:
        raise unwritable(path, error) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unwritable(path: Path, error: OSError) -> DataError:
    """The error of a file that cannot be written."""
    return DataError(Problem(f"cannot be written: {error.strerror or error}", file=shown_path(path)))
