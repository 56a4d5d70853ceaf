"""Which rows of a table may be used for a purpose. Whatever is not clearly permitted is not."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.data.card import Consent, Purpose
from trialsim.data.governance.persons import are_among, ids_of
from trialsim.data.governance.withdrawn import read_withdrawn, withdrawn_path
from trialsim.data.shown_path import shown_path
from trialsim.data.table import PatientTable
from trialsim.errors import DataError, Problem

PERMITS = frozenset({"1", "true", "yes", "permit"})
DENIES = frozenset({"0", "false", "no", "deny"})
_EPOCH = np.datetime64("1970-01-01", "D")
_PERMITTED, _WITHDRAWN, _DENIED, _UNKNOWN, _EXPIRED, _ELSEWHERE = range(6)


@dataclass(frozen=True, slots=True)
class Permission:
    """Which rows may be used for a purpose, and why the others may not.

    `rows` `[patient]` is True where permitted. Every other row is counted once, under the first reason that holds:
    `withdrawn` (on the dataset's withdrawal list), `denied`, `unknown` (a cell of consent, expiry, jurisdiction or
    identifier is missing or unreadable, or the purpose has no column), `expired`, `other_jurisdiction`. The counts sum to
    `n_rows`.
    """

    purpose: Purpose
    on: date
    rows: NDArray[np.bool_]
    n_rows: int
    n_permitted: int
    withdrawn: int
    denied: int
    unknown: int
    expired: int
    other_jurisdiction: int
    by_row: bool

    def counts(self) -> dict[str, Any]:
        """Purpose, day and counts, for cards, manifests and the audit log. `by_row` is whether the data hold consent per row."""
        return {
            "purpose": self.purpose,
            "on": self.on.isoformat(),
            "by_row": self.by_row,
            "n_rows": self.n_rows,
            "n_permitted": self.n_permitted,
            "withdrawn": self.withdrawn,
            "denied": self.denied,
            "unknown": self.unknown,
            "expired": self.expired,
            "other_jurisdiction": self.other_jurisdiction,
        }

    def sha256(self) -> str:
        """A hash of which rows are permitted: part of the key of anything that is cached."""
        return hashlib.sha256(f"{self.purpose} {self.n_rows} ".encode() + np.packbits(self.rows).tobytes()).hexdigest()

    def summary(self) -> str:
        """One line, for example `12 of 20 rows are permitted for simulate (5 denied, 3 expired)`."""
        names = {"withdrawn": "withdrawn", "denied": "denied", "unknown": "unknown", "expired": "expired", "other_jurisdiction": "of another jurisdiction"}
        others = ", ".join(f"{getattr(self, key)} {words}" for key, words in names.items() if getattr(self, key))
        return f"{self.n_permitted} of {self.n_rows} rows are permitted for {self.purpose}{f' ({others})' if others else ''}"

    def apply(self, table: PatientTable) -> PatientTable:
        """The permitted rows of the table; DataError where there are none. Levels that the card does not declare are those of these rows."""
        if not self.n_permitted:
            raise DataError(Problem(f"no row may be used: {self.summary()}", file=table.file))
        return _without_others_levels(table.take(np.flatnonzero(self.rows)))


def permitted(table: PatientTable, purpose: Purpose, *, on: date, jurisdictions: Collection[str] | None = None, card_file: str = "") -> Permission:
    """Which rows of the table may be used for `purpose` on the day `on` (both the licence and every row's consent must allow it).

    With a consent section in the card, a row is permitted when its cell for the purpose permits (1, true, yes, permit), its
    consent has not expired (the last day counts) and, with `jurisdictions`, its jurisdiction is among them (letter case
    does not matter). Fails closed: a missing cell, a word that is none of these, a missing or unreadable date, a purpose
    without a column, or a row without an identifier permits nothing. If rows share an identifier and one denies, they all
    do. Without a consent section the card's `purposes` decide for all rows. Whoever is on the dataset's withdrawal list
    (`<data>.withdrawn.json`) is never permitted.

    Raises DataError (with `card_file` as its place) where the card is missing, has no licence or does not name the
    purpose; where there is a withdrawal list and no column with identifiers; where `jurisdictions` are asked for and
    the card names no column of them. That no row is permitted is no error here, see `Permission.apply`.

    Not handled: consent to a part of a patient's columns (use a card per part).
    """
    if table.card is None:
        raise DataError(Problem("has no card, so nothing says what it may be used for", file=table.file))
    table.card.require(purpose, file=card_file)
    consent = table.card.consent
    if jurisdictions is not None and (consent is None or consent.jurisdiction is None):
        raise DataError(Problem("the card names no column of jurisdictions (consent.jurisdiction), so rows cannot be restricted to some", file=card_file))
    list_file = withdrawn_path(table.path)
    withdrawn = read_withdrawn(list_file)
    reason = np.full(table.n, _PERMITTED) if consent is None else _by_consent(table, consent, purpose, on, jurisdictions)
    ids = ids_of(table) if consent is not None or withdrawn.persons else None
    if ids is not None:
        nobody = np.array([person is None for person in ids], dtype=bool)
        reason[nobody & (reason != _DENIED)] = _UNKNOWN
        reason[_shared(ids, reason == _DENIED) & ~nobody] = _DENIED
        reason[are_among(withdrawn.salt, withdrawn.persons, ids)] = _WITHDRAWN
    elif withdrawn.persons:
        said = f"{len(withdrawn.persons)} persons have withdrawn, but the card gives no column the role id, so their rows cannot be told"
        raise DataError(Problem(said, file=shown_path(list_file)))
    count = np.bincount(reason, minlength=6).tolist()
    return Permission(
        purpose=purpose,
        on=on,
        rows=reason == _PERMITTED,
        n_rows=table.n,
        n_permitted=count[_PERMITTED],
        withdrawn=count[_WITHDRAWN],
        denied=count[_DENIED],
        unknown=count[_UNKNOWN],
        expired=count[_EXPIRED],
        other_jurisdiction=count[_ELSEWHERE],
        by_row=consent is not None,
    )


def _by_consent(table: PatientTable, consent: Consent, purpose: Purpose, on: date, jurisdictions: Collection[str] | None) -> NDArray[np.int64]:
    """The reason of each row, by the card's columns alone."""
    if purpose not in consent.columns:
        return np.full(table.n, _UNKNOWN)
    words = [None if word is None else word.casefold() for word in _words(table, consent.columns[purpose])]
    known = np.array([word in PERMITS for word in words], dtype=bool)
    denied = np.array([word in DENIES for word in words], dtype=bool)
    expired = elsewhere = np.zeros(table.n, dtype=bool)
    if consent.expiry is not None:
        last = _days(table, consent.expiry)
        known &= ~np.isnan(last)
        expired = last < float((np.datetime64(on, "D") - _EPOCH).astype(np.int64))
    if jurisdictions is not None and consent.jurisdiction is not None:
        wanted = {name.strip().casefold() for name in jurisdictions}
        given = [None if word is None else word.casefold() for word in _words(table, consent.jurisdiction)]
        known &= np.array([word is not None for word in given], dtype=bool)
        elsewhere = np.array([word not in wanted for word in given], dtype=bool)
    return np.select([denied, ~known, expired, elsewhere], [_DENIED, _UNKNOWN, _EXPIRED, _ELSEWHERE], _PERMITTED)


def _words(table: PatientTable, name: str) -> list[str | None]:
    """The cells of a column as words, None where missing; a column of numbers gives whole numbers without a point."""
    table.require(name)
    if name in table.text:
        return [None if cell is None else cell.strip() for cell in table.text[name]]
    cells = table.columns[name].tolist()
    if name in table.levels:
        return [None if code != code else table.levels[name][int(code)].strip() for code in cells]
    return [None if value != value else f"{value:g}" for value in cells]


def _without_others_levels(table: PatientTable) -> PatientTable:
    """The table without the levels that no row of it has, unless the card declares them: they were found in rows that may not be read."""
    levels, columns = dict(table.levels), dict(table.columns)
    for name, found in table.levels.items():
        codes = columns[name]
        known = ~np.isnan(codes)
        used = np.unique(codes[known]).astype(np.int64)
        if table.meaning[name].levels or len(used) == len(found):
            continue
        levels[name] = tuple(found[code] for code in used)
        columns[name] = np.where(known, np.searchsorted(used, np.where(known, codes, 0)), np.nan)
    return replace(table, levels=levels, columns=columns)


def _days(table: PatientTable, name: str) -> NDArray[np.float64]:
    """A column of dates in days since 1970-01-01, NaN where missing or not an ISO 8601 date (with or without a time), and nothing else."""
    if name not in table.text:
        table.require(name)
        return table.columns[name]
    return np.array([_day(cell) for cell in table.text[name]])


def _day(cell: str | None) -> float:
    try:
        return float(datetime.fromisoformat((cell or "").strip()).date().toordinal() - date(1970, 1, 1).toordinal())
    except ValueError:
        return float("nan")


def _shared(ids: Collection[str | None], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows whose identifier is that of one of `rows`."""
    marked = {person for person, row in zip(ids, rows.tolist(), strict=True) if row}
    return np.array([person in marked for person in ids], dtype=bool)
