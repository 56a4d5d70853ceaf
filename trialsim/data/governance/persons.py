"""Who a row is: its identifier, and the salted hashes that stand for identifiers in files."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from trialsim.data.table import PatientTable
from trialsim.errors import DataError, Problem

SALT_BYTES = 32


def id_column(table: PatientTable) -> str | None:
    """The column with the role `id`, None where there is none; DataError where there are several, since it is then unclear who is who."""
    found = [name for name, meaning in table.meaning.items() if meaning.role == "id"]
    if len(found) > 1:
        raise DataError(Problem(f"the columns {', '.join(found)} all have the role id; give it to the patient's identifier alone", file=table.file))
    return found[0] if found else None


def ids_of(table: PatientTable) -> tuple[str | None, ...] | None:
    """The identifier of every row as text (whole numbers without a point), None where missing; None where no column is one."""
    name = id_column(table)
    if name is None:
        return None
    if name in table.text:
        return tuple(None if cell is None or not cell.strip() else cell.strip() for cell in table.text[name])
    column = table.columns[name]
    if name in table.levels:
        levels = table.levels[name]
        return tuple(None if np.isnan(code) else levels[int(code)] for code in column.tolist())
    if (np.abs(column[~np.isnan(column)]) >= 2.0**53).any():
        raise DataError(Problem(f'identifiers of the column "{name}" are too long for numbers; give it the type text', file=table.file))
    return tuple(None if value != value else str(int(value)) if value == int(value) else repr(value) for value in column.tolist())


def new_salt() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(SALT_BYTES)


def person_hash(salt: bytes, person: str) -> str:
    """HMAC-SHA-256 of an identifier under a salt, in hexadecimal.

    It hides an identifier from a reader of the file, and two files cannot be joined on it. It does not hide it from somebody
    who has the salt and a list of possible identifiers: patient numbers are few enough to try them all. Files of hashes
    are therefore personal data (pseudonymised, not anonymous) and want the same care as the data.

    **Source:** Krawczyk, Bellare & Canetti 1997, HMAC, doi 10.17487/RFC2104.
    """
    return hmac.digest(salt, person.encode("utf-8", "surrogatepass"), "sha256").hex()


def person_hashes(salt: bytes, persons: Iterable[str]) -> list[str]:
    """The hashes of the distinct identifiers, sorted, so that their order says nothing of the data's."""
    return sorted({person_hash(salt, person) for person in persons})


def are_among(salt: bytes, hashes: Collection[str], persons: Iterable[str | None]) -> NDArray[np.bool_]:
    """Whether each identifier has its hash among these."""
    known = frozenset(hashes)
    if not known:  # as for almost all data: nobody needs to be hashed
        return np.zeros(sum(1 for _ in persons), dtype=bool)
    return np.array([person is not None and person_hash(salt, person) in known for person in persons], dtype=bool)
