"""The audit log: who did what to which data and models, in a chain of hashes that shows what was changed."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trialsim.data.governance.files import locked, unwritable, write_whole
from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem

NAME = "cohort-audit.jsonl"
START = "0" * 64  # the previous hash of the first entry
_KEYS = ("sequence", "time", "action", "actor", "details", "previous", "hash")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `hash` is SHA-256 over the canonical JSON of everything else; `previous` is the hash of the line before."""

    sequence: int
    time: str
    action: str
    actor: str
    details: Mapping[str, Any]
    previous: str
    hash: str

    def as_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in _KEYS}


def default_path(beside: Path) -> Path:
    """`$TRIALSIM_AUDIT`, else `cohort-audit.jsonl` in the folder of the thing written (in it, where it is a folder)."""
    given = os.environ.get("TRIALSIM_AUDIT")
    if given:
        return Path(given).expanduser()
    return (beside if beside.is_dir() else beside.parent) / NAME


def head_path(path: Path) -> Path:
    """`<log>.head`: the number of entries and the hash of the last, without which a cut end could not be told."""
    return path.with_name(f"{path.name}.head")


def append(path: Path, action: str, details: Mapping[str, Any], *, actor: str | None = None) -> Entry:
    """Adds one entry to the log, and makes the log where there is none. Safe while other processes append.

    `details` is anything that JSON can say; it must hold no patient's identifier (`persons.person_hash` stands for one).
    A file is named by its absolute path; the entry of a fit has the model's under `model`, for withdrawals to find it.
    `actor` defaults to `$TRIALSIM_ACTOR`, else the name of the account.

    Raises DataError where the end of the log does not fit its head record (nothing is added to a broken log), and where it
    cannot be written: the log is then what it was. An entry whose head record was lost when a process ended between the two
    is accepted.
    """
    with locked(path):
        count, last = _end(path)
        entry: dict[str, Any] = {
            "sequence": count + 1,
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            "action": action,
            "actor": actor or _account(),
            "details": dict(details),
            "previous": last,
        }
        entry = json.loads(_canonical(entry))  # as it will be read
        entry["hash"] = _hash(entry)
        _add(path, _canonical(entry) + b"\n", json.dumps({"count": entry["sequence"], "hash": entry["hash"]}) + "\n")
    return Entry(**entry)


def _add(path: Path, line: bytes, head: str) -> None:
    """Writes the line at the end of the log and then the head record; where either fails (a full disk), the log is what it was."""
    try:
        with path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                while line:  # a disk that fills up takes a part
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
                write_whole(head_path(path), head)
            except BaseException:
                file.truncate(before)
                raise
    except OSError as error:
        raise unwritable(path, error) from None


def entries(path: Path) -> list[Entry]:
    """The entries in order; DataError where a line is not one (`verify` says whether they hold)."""
    problems: list[Problem] = []
    found: list[Entry] = []
    for number, line in _lines(path):
        entry = _parsed(line)
        if entry is None:
            problems.append(Problem("is not an entry of an audit log", file=shown_path(path), line=number))
        else:
            found.append(Entry(**entry))
    if problems:
        raise DataError(problems)
    return found


def verify(path: Path) -> list[Problem]:
    """What is wrong with the log, each with its line; empty where nothing is.

    Found: an edited line (any byte), removed lines, lines out of order or twice, a cut end, an entry past the head record.
    A cut end is found only against the head record `<log>.head`. The chain has no secret key: whoever can write
    both files can write another history that holds together. Keep the hash of the last entry (`cohort audit --verify`
    prints it) where the writers of the log cannot change it, if that matters.

    Raises DataError where there is no log. **Source:** Schneier & Kelsey 1999, Secure audit logs to support computer
    forensics, ACM TISSEC 2:159, doi 10.1145/317087.317089 (the hash chain, here without its keys).
    """
    name = shown_path(path)
    problems: list[Problem] = []
    count, last, number = 0, START, 0
    for number, line in _lines(path):
        entry = _parsed(line)
        if entry is None or not _sound(entry, line):
            said = "is not an entry of an audit log: it was edited or cut" if entry is None else "the entry was edited: its hash does not fit its content"
            problems.append(Problem(said, file=name, line=number))
            count, last = count + 1, ""
            continue
        if wrong := _out_of_place(entry, count, last):
            problems.append(Problem(wrong, file=name, line=number))
        if entry["sequence"] > count:
            count, last = entry["sequence"], entry["hash"]
    return problems + _against_head(path, count, last, number)


def _out_of_place(entry: Mapping[str, Any], count: int, last: str) -> str:
    """Why a sound entry does not belong after one of sequence `count` and hash `last` ("": not known)."""
    sequence = entry["sequence"]
    if sequence <= count:
        return f"entry {sequence} comes after entry {count}: lines were put in another order, or one is there twice"
    if sequence > count + 1:
        missing = f"entry {count + 1} is missing" if sequence == count + 2 else f"entries {count + 1} to {sequence - 1} are missing"
        return f"{missing} before entry {sequence}: lines were removed or put in another order"
    if last and entry["previous"] != last:
        return f"entry {sequence} does not continue the entry before it: one of the two was replaced"
    return ""


def _against_head(path: Path, count: int, last: str, lines: int) -> list[Problem]:
    """Whether the log ends where its head record says."""
    head, wrong = _head(path)
    if wrong:
        return [wrong]
    name, said = shown_path(path), head["count"]
    place: dict[str, Any] = {"file": name, "line": lines or None}
    if count < said:
        return [Problem(f"the log ends with entry {count}, its head record says {said}: the end was cut", **place)]
    if count > said:
        return [Problem(f"the log ends with entry {count}, its head record says {said}: entries were added by other means, or writing was cut short", **place)]
    if last and last != head["hash"]:
        return [Problem(f"the last entry is not the one of the head record {head_path(path).name}", **place)]
    return []


def _head(path: Path) -> tuple[dict[str, Any], Problem | None]:
    """The head record; or what is wrong with it."""
    file = head_path(path)
    try:
        text = file.read_text(encoding="utf-8")
        head = json.loads(text)
        if text == json.dumps({"count": head["count"], "hash": head["hash"]}) + "\n" and type(head["count"]) is int and len(bytes.fromhex(head["hash"])) == 32:
            return head, None
    except FileNotFoundError:
        return {}, Problem("there is no head record beside the log, so a cut end cannot be told", file=shown_path(file))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return {}, Problem("the head record cannot be read: it was edited or cut", file=shown_path(file))


def _end(path: Path) -> tuple[int, str]:
    """The sequence and hash of the last entry of a log that may be added to."""
    if not head_path(path).exists() and (not path.exists() or path.stat().st_size == 0):
        return 0, START
    head, wrong = _head(path)
    if wrong is None:
        line = _last_line(path) if path.exists() else b""
        entry = _parsed(line)
        if entry is not None and _sound(entry, line):
            if (entry["sequence"], entry["hash"]) == (head["count"], head["hash"]):
                return head["count"], head["hash"]
            if entry["sequence"] == head["count"] + 1 and entry["previous"] == head["hash"]:
                return entry["sequence"], entry["hash"]
        wrong = Problem("the audit log does not end where its head record says", file=shown_path(path))
    advice = f"{wrong.message}; nothing is added to a broken log (trialsim cohort audit --verify says where; set it aside to begin another)"
    raise DataError(Problem(advice, file=wrong.file))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown_path(path))) from None
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", file=shown_path(path))) from None
    *whole, tail = raw.split(b"\n")
    yield from enumerate([*(line + b"\n" for line in whole), *([tail] if tail else [])], start=1)


def _last_line(path: Path) -> bytes:
    """The last line with its end, read from the back."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        reach, tail = 4096, b""
        while b"\n" not in tail[:-1] and len(tail) < size:
            file.seek(max(0, size - reach))
            tail, reach = file.read(), reach * 4
    return tail[tail[:-1].rfind(b"\n") + 1 :]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line as an entry, None where it is not one."""
    try:
        entry = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or tuple(sorted(entry)) != tuple(sorted(_KEYS)):
        return None
    texts = all(isinstance(entry[key], str) for key in ("time", "action", "actor", "previous", "hash"))
    return entry if texts and type(entry["sequence"]) is int and isinstance(entry["details"], dict) else None


def _canonical(entry: Mapping[str, Any]) -> bytes:
    """One JSON text per value: sorted keys, no spaces, ASCII, shortest round-trip numbers; NaN is refused."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _hash(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in entry.items() if key != "hash"})).hexdigest()


def _sound(entry: Mapping[str, Any], line: bytes) -> bool:
    """Whether a line is, byte for byte, what was written for its entry."""
    try:
        return line == _canonical(entry) + b"\n" and entry["hash"] == _hash(entry)
    except ValueError:  # NaN, which no entry was written with
        return False


def _account() -> str:
    given = os.environ.get("TRIALSIM_ACTOR")
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "unknown"
