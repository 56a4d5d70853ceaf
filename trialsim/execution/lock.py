"""One run in one place: a lock that dies with its holder.

A local folder is locked by the operating system (flock), which lets go when the process ends, however it ends. An object
store has no such thing: there the lock is an object that says who holds it and is renewed every `HEARTBEAT` seconds; one that
has not been renewed for `DEAD_AFTER` seconds is dead and may be taken. Clocks of machines that share a run are taken to
agree to within a minute. Two runs in one place would waste work, not spoil it: chunks of one name hold the same trials.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from trialsim.errors import IncompleteRunError, UsageError

HEARTBEAT = 15.0
DEAD_AFTER = 90.0


class Lock(Protocol):
    """Held inside a `with`."""

    def __enter__(self) -> Self:
        """UsageError when a living process holds the lock."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Lets go."""

    def check(self) -> None:
        """IncompleteRunError when the lock was lost to another process meanwhile."""

    def is_held(self) -> bool:
        """Whether a living process, perhaps this one, holds the lock."""


def _refused(shown: str, holder: str) -> UsageError:
    return UsageError(f"{shown}: another trialsim process{f' ({holder})' if holder else ''} is running here")


class FileLock:
    """The lock of a local folder."""

    def __init__(self, path: Path, *, shown: str):
        self._path, self._shown = path, shown
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        file = open(self._path, "a+b")
        for attempt in range(4):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt < 3:  # `status` may be looking
                    time.sleep(0.05)
                    continue
                file.seek(0)
                holder = file.read().decode().strip()
                file.close()
                raise _refused(self._shown, holder) from None
        self._file = file
        try:
            file.truncate(0)
            file.write(f"pid {os.getpid()}".encode())
            file.flush()
        except OSError:  # a full disk: the lock holds all the same
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                os.close(self._file.fileno())
            self._file = None

    def check(self) -> None:
        """The operating system takes no lock away."""

    def is_held(self) -> bool:
        try:
            with open(self._path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


class ObjectLock:
    """The lock of a place in an object store; `file_system` is fsspec's."""

    def __init__(self, file_system: Any, path: str, *, shown: str):
        self._fs, self._path, self._shown = file_system, path, shown
        self._owner, self._holder = uuid.uuid4().hex, f"pid {os.getpid()} on {socket.gethostname()}"
        self._released, self._lost = threading.Event(), ""
        self._renewed = 0.0

    def __enter__(self) -> Self:
        try:
            self._take()
        except UsageError:
            raise
        except Exception as error:
            raise self._unreachable(error) from None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def _take(self) -> None:
        found = self._found()
        if found is not None:
            if self._alive(found):
                raise _refused(self._shown, str(found.get("holder", "")))
            self._fs.rm_file(self._path)
        try:
            self._write(mode="create")
        except FileExistsError:
            raise _refused(self._shown, str((self._found() or {}).get("holder", ""))) from None
        found = self._found() or {}
        if found.get("owner") != self._owner:  # a store that does not know "create": the last to write has it
            raise _refused(self._shown, str(found.get("holder", "")))

    def _unreachable(self, error: Exception) -> UsageError:
        return UsageError(f"{self._shown}: cannot be locked: {(str(error).splitlines() or [type(error).__name__])[0]}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self._thread.join()
        try:
            if (self._found() or {}).get("owner") == self._owner:
                self._fs.rm_file(self._path)
        except Exception:  # out of reach: the lock dies by itself
            return

    def check(self) -> None:
        if self._lost:
            raise IncompleteRunError(f"{self._shown}: the lock was lost to {self._lost}")

    def is_held(self) -> bool:
        try:
            found = self._found()
        except Exception as error:
            raise self._unreachable(error) from None
        return found is not None and self._alive(found)

    def _keep(self) -> None:
        while not self._released.wait(HEARTBEAT) and not self._lost:
            try:
                found = self._found() or {}
                if found.get("owner", self._owner) != self._owner:
                    self._lost = str(found.get("holder", "another process"))
                else:
                    self._write()
            except Exception as error:
                if time.monotonic() - self._renewed > DEAD_AFTER:
                    self._lost = f"the network ({error})"

    def _write(self, **how: Any) -> None:
        said = {"owner": self._owner, "holder": self._holder, "renewed": time.time()}
        self._fs.pipe_file(self._path, json.dumps(said).encode(), **how)
        self._renewed = time.monotonic()

    def _found(self) -> dict[str, Any] | None:
        self._fs.invalidate_cache()
        try:
            return dict(json.loads(self._fs.cat_file(self._path)))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}

    @staticmethod
    def _alive(found: dict[str, Any]) -> bool:
        return abs(time.time() - float(found.get("renewed", 0.0))) < DEAD_AFTER
