"""Patient-level data as typed columns, with where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.data.card import Card, Column
from trialsim.data.cells import TRUTH, number, place_of_row
from trialsim.errors import DataError, Problem, did_you_mean


@dataclass(frozen=True, slots=True)
class PatientTable:
    """One row per patient, typed columns.

    `columns` holds a float64 array `[patient]` per column: numbers as in the file (NaN is missing), dates in days since
    1970-01-01, categories as the index in `levels[name]`. Text columns (and identifiers) are in `text`, None where missing.
    `meaning` is the card's column, or the inferred one. `sha256` is of the file's bytes; `file` names it in messages, `path`
    is where it lies. `rows` are the places of the patients in the file, from 0 for the first below the header.
    """

    columns: Mapping[str, NDArray[np.float64]]
    text: Mapping[str, tuple[str | None, ...]]
    levels: Mapping[str, tuple[str, ...]]
    meaning: Mapping[str, Column]
    n: int
    file: str
    sha256: str
    card: Card | None
    path: Path
    rows: NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, in the file's order."""
        return tuple(self.meaning)

    def require(self, name: str) -> Column:
        """The meaning of a column; DataError where the file does not have it."""
        if name not in self.meaning:
            raise DataError(Problem(f'there is no column "{name}"{did_you_mean(name, self.names)}', file=self.file))
        return self.meaning[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers. A column of nothing but true and false counts as 1 and 0.

        Raises DataError with the line and the value of the first cell that is not a finite number, and for a text column.
        """
        meaning = self.require(name)
        if name not in self.text and name not in self.levels:
            return self.columns[name]
        labels = self._labels(name)
        if name in self.text and not any(_is_wrong(label, {}) for label in labels):
            raise DataError(Problem(f'the column "{name}" is {meaning.type}, where numbers are needed', file=self.file))
        known = {label for label in labels if label is not None}
        words = TRUTH if known and not any(number(label) is not None for label in known) and known & TRUTH.keys() else {}
        for row, label in enumerate(labels):
            if _is_wrong(label, words):
                wanted = "true or false" if words else "a number"
                raise DataError(Problem(f'"{label}" in the column "{name}" is not {wanted}', **place_of_row(self.path, self.file, int(self.rows[row]))))
        return np.array([np.nan if label is None else words[label] if words else float(label) for label in labels])

    def _labels(self, name: str) -> tuple[str | None, ...]:
        """The cells of a column of text or categories, as text."""
        if name in self.text:
            return self.text[name]
        levels = self.levels[name]
        return tuple(None if np.isnan(code) else levels[int(code)] for code in self.columns[name])

    def equals(self, name: str, value: str | int | float) -> NDArray[np.bool_]:
        """Where a column has this value, compared as a number if both are numbers and else as text."""
        self.require(name)
        if name in self.text:
            return np.array([cell == str(value) for cell in self.text[name]], dtype=bool)
        if name in self.levels:
            wanted = [index for index, level in enumerate(self.levels[name]) if level == str(value) or _same_number(level, value)]
            return np.isin(self.columns[name], wanted)
        try:
            return np.asarray(self.columns[name] == float(value))
        except ValueError:
            return np.zeros(self.n, dtype=bool)

    def where(self, name: str, value: str | int | float) -> PatientTable:
        """The rows in which a column has this value (true and false are 1 and 0); DataError where there are none."""
        rows = self.equals(name, TRUTH.get(str(value), value) if name not in self.text and name not in self.levels else value)
        if not rows.any():
            raise DataError(Problem(f"no row has {name} = {value}", file=self.file))
        return self.take(np.flatnonzero(rows))

    def repeated(self, name: str) -> PatientTable:
        """Every row as often as its number in a column says, for tables of frequencies; DataError where that is not a whole number."""
        times = self.numbers(name)
        wrong = np.flatnonzero(~((times >= 0) & (times == np.round(times))))
        if len(wrong):
            raise DataError(
                Problem(f'the frequency "{name}" of row {self.rows[wrong[0]] + 1} is not a whole number from 0: {times[wrong[0]]:g}', file=self.file)
            )
        return self.take(np.repeat(np.arange(self.n), times.astype(np.int64)))

    def take(self, kept: NDArray[np.int64]) -> PatientTable:
        """The rows at these places, in this order (a place may come twice)."""
        return replace(
            self,
            columns={column: values[kept] for column, values in self.columns.items()},
            text={column: tuple(cells[row] for row in kept) for column, cells in self.text.items()},
            n=len(kept),
            rows=self.rows[kept],
        )


def _same_number(level: str, value: Any) -> bool:
    try:
        return float(level) == float(value)
    except ValueError:
        return False


def _is_wrong(label: str | None, words: Mapping[str, float]) -> bool:
    """Whether a cell is there and is neither a finite number nor, where there are such, one of `words`."""
    if label is None:
        return False
    value = words.get(label) if words else number(label)
    return value is None or not np.isfinite(value)
