"""The withdrawal list of a dataset: whose rows must not be read any more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from trialsim.data.governance.files import locked, write_whole
from trialsim.data.governance.persons import new_salt, person_hash
from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem

SCHEMA = "trialsim.withdrawn/1"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Hash of a person → the day (ISO 8601) they withdrew, under the list's own salt."""

    salt: bytes
    persons: Mapping[str, str]


def withdrawn_path(data: Path) -> Path:
    """`<data>.withdrawn.json`, beside the data (beside the file itself, where the data are a symbolic link).

    It belongs to the data: copy and keep the two together.
    """
    real = data.resolve()
    return real.with_name(f"{real.name}.withdrawn.json")


def read_withdrawn(path: Path) -> Withdrawn:
    """The list in a file, an empty one where there is no file. A file that cannot be read is a DataError: nobody is permitted then."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Withdrawn(b"", {})
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(f"the withdrawal list cannot be read: {' '.join(str(error).split())}", file=shown_path(path))) from None
    try:
        salt, persons = bytes.fromhex(given["salt"]), {entry["person"]: entry["on"] for entry in given["persons"]}
        if given["schema"] != SCHEMA or not salt or not all(len(bytes.fromhex(person)) == 32 for person in persons):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise DataError(Problem(f"is not a withdrawal list of the schema {SCHEMA}", file=shown_path(path))) from None
    return Withdrawn(salt, persons)


def add_withdrawn(path: Path, persons: Iterable[str], *, on: date) -> tuple[list[str], int]:
    """Adds persons to the list, at once or not at all; their hashes in order, and how many were not on it before."""
    with locked(path):
        before = read_withdrawn(path)
        salt = before.salt or new_salt()
        hashes = [person_hash(salt, person) for person in persons]
        after = dict(before.persons)
        for found in hashes:
            after.setdefault(found, on.isoformat())
        if len(after) > len(before.persons):
            write_whole(path, json.dumps(_as_json(salt, after), indent=1) + "\n")
    return hashes, len(after) - len(before.persons)


def _as_json(salt: bytes, persons: Mapping[str, str]) -> dict[str, Any]:
    return {"schema": SCHEMA, "salt": salt.hex(), "persons": [{"person": person, "on": day} for person, day in sorted(persons.items())]}
