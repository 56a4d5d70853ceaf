"""Patient-level data as typed columns, read from CSV or Parquet, with where they came from."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.data.card import Card, Column
from trialsim.errors import DataError, Problem, did_you_mean

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "."})
_EPOCH = np.datetime64("1970-01-01", "D")
_TRUTH = {"true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}


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
        words = _TRUTH if known and not any(_number(label) is not None for label in known) and known & _TRUTH.keys() else {}
        for row, label in enumerate(labels):
            if _is_wrong(label, words):
                wanted = "true or false" if words else "a number"
                raise DataError(Problem(f'"{label}" in the column "{name}" is not {wanted}', **_place(self.path, self.file, int(self.rows[row]))))
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
            wanted = [place for place, level in enumerate(self.levels[name]) if level == str(value) or _same_number(level, value)]
            return np.isin(self.columns[name], wanted)
        try:
            return np.asarray(self.columns[name] == float(value))
        except ValueError:
            return np.zeros(self.n, dtype=bool)

    def where(self, name: str, value: str | int | float) -> PatientTable:
        """The rows in which a column has this value (true and false are 1 and 0); DataError where there are none."""
        rows = self.equals(name, _TRUTH.get(str(value), value) if name not in self.text and name not in self.levels else value)
        if not rows.any():
            raise DataError(Problem(f"no row has {name} = {value}", file=self.file))
        return self._of(np.flatnonzero(rows))

    def repeated(self, name: str) -> PatientTable:
        """Every row as often as its number in a column says, for tables of frequencies; DataError where that is not a whole number."""
        times = self.numbers(name)
        wrong = np.flatnonzero(~((times >= 0) & (times == np.round(times))))
        if len(wrong):
            raise DataError(
                Problem(f'the frequency "{name}" of row {self.rows[wrong[0]] + 1} is not a whole number from 0: {times[wrong[0]]:g}', file=self.file)
            )
        return self._of(np.repeat(np.arange(self.n), times.astype(np.int64)))

    def _of(self, kept: NDArray[np.int64]) -> PatientTable:
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
    value = words.get(label) if words else _number(label)
    return value is None or not np.isfinite(value)


def _place(path: Path, shown: str, row: int) -> dict[str, Any]:
    """The line of a row (from 0) of a CSV file; the number of the row of a Parquet file."""
    if _is_parquet(path):
        return {"file": f"{shown} row {row + 1}"}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        found = -2
        for cells in rows:
            found += bool(cells)
            if found == row:
                return {"file": shown, "line": rows.line_num}
    return {"file": shown}


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def read_table(path: Path | str, card: Card | None = None, *, shown: str | None = None) -> PatientTable:
    """The patient-level data in a CSV (UTF-8, comma, header line) or Parquet file.

    With a card its types apply and its columns must be there; columns it does not name have inferred types and the role
    `post_baseline` (not used unless asked for). Without one, a column whose cells are at least nine tenths numbers is a
    column of numbers, and others are categories (up to 20 levels) or text. A first column without a name (R's row
    names) is not read. Missing cells: empty, NA, N/A, NaN, null, or a dot.

    Raises DataError with file, line and value: a missing or empty file, a duplicated column name, a row of another
    length, a cell that does not fit its column.
    """
    path = Path(path)
    name = shown or str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=name)) from None
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror}", file=name)) from None
    if not raw.strip():
        raise DataError(Problem("the file is empty", file=name))
    reader = _Reader(path, name, card)
    cells = reader.parquet() if _is_parquet(path) else reader.csv()
    return reader.table(cells, hashlib.sha256(raw).hexdigest())


class _Reader:
    """Reads one file; knows how to name a place in it."""

    def __init__(self, path: Path, name: str, card: Card | None):
        self.path, self.name, self.card = path, name, card

    def csv(self) -> dict[str, list[str | None]]:
        import pyarrow as pa
        import pyarrow.csv

        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                header = next(csv.reader(file))
            self._check_header(header)
            strings = {column: pa.string() for column in header}
            table = pyarrow.csv.read_csv(
                str(self.path),
                read_options=pyarrow.csv.ReadOptions(use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(column_types=strings, strings_can_be_null=False),
            )
        except UnicodeDecodeError:
            raise DataError(Problem("is not UTF-8 text", file=self.name)) from None
        except (pa.ArrowInvalid, StopIteration) as error:
            raise DataError(self._ragged() or Problem(f"is not a CSV file: {' '.join(str(error).split())}", file=self.name)) from None
        first = 1 if header[0] == "" else 0
        columns = {column: table.column(place).to_pylist() for place, column in enumerate(header) if place >= first}
        return {column: [None if cell in MISSING or cell.strip() in MISSING else cell.strip() for cell in cells] for column, cells in columns.items()}

    def parquet(self) -> dict[str, list[Any]]:
        import pyarrow as pa
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(str(self.path))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(Problem(f"is not a Parquet file: {' '.join(str(error).split())}", file=self.name)) from None
        self._check_header(table.column_names)
        return {column: [_plain(cell) for cell in table.column(place).to_pylist()] for place, column in enumerate(table.column_names)}

    def _check_header(self, header: Sequence[str]) -> None:
        for column, count in Counter(header).items():
            if count > 1:
                raise DataError(Problem(f'the column name "{column}" occurs {count} times', file=self.name, line=1))
        if any(column == "" for column in header[1:]):
            raise DataError(Problem(f"column {[*header[1:]].index('') + 2} has no name", file=self.name, line=1))

    def _ragged(self) -> Problem | None:
        """The first row whose length is not that of the header."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            width = len(next(rows, []))
            for row in rows:
                if row and len(row) != width:
                    return Problem(f"the row has {len(row)} cells where the header has {width}", file=self.name, line=rows.line_num)
        return None

    def _place(self, row: int) -> dict[str, Any]:
        return _place(self.path, self.name, row)

    def table(self, cells: Mapping[str, Sequence[Any]], sha256: str) -> PatientTable:
        n = len(next(iter(cells.values()), ()))
        if n == 0:
            raise DataError(Problem("there are no rows below the header", file=self.name))
        declared = self.card.columns if self.card is not None else {}
        absent = [
            Problem(f'the card names the column "{name}", which the data do not have{did_you_mean(name, cells)}', file=self.name)
            for name in declared
            if name not in cells
        ]
        if absent:
            raise DataError(absent)
        columns: dict[str, NDArray[np.float64]] = {}
        text: dict[str, tuple[str | None, ...]] = {}
        levels: dict[str, tuple[str, ...]] = {}
        meaning: dict[str, Column] = {}
        problems: list[Problem] = []
        for name, column in cells.items():
            meaning[name] = declared[name] if name in declared else _inferred(column, undeclared=bool(declared))
            try:
                if meaning[name].type == "text":
                    text[name] = tuple(None if cell is None else str(cell) for cell in column)
                elif meaning[name].type == "categorical" or meaning[name].levels:
                    levels[name], columns[name] = self._categories(name, meaning[name], column)
                else:
                    columns[name] = self._numbers(name, meaning[name], column)
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)
        return PatientTable(
            columns=columns,
            text=text,
            levels=levels,
            meaning=meaning,
            n=n,
            file=self.name,
            sha256=sha256,
            card=self.card,
            path=self.path.absolute(),
            rows=np.arange(n),
        )

    def _categories(self, name: str, meaning: Column, column: Sequence[Any]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        found = [None if cell is None else _label(cell) for cell in column]
        levels = meaning.levels or _sorted_levels(label for label in found if label is not None)
        place = {level: float(index) for index, level in enumerate(levels)}
        for row, label in enumerate(found):
            if label is not None and label not in place:
                raise DataError(Problem(f'"{label}" is not a level of "{name}" ({", ".join(levels)})', **self._place(row)))
        return levels, np.array([np.nan if label is None else place[label] for label in found])

    def _numbers(self, name: str, meaning: Column, column: Sequence[Any]) -> NDArray[np.float64]:
        out = np.full(len(column), np.nan)
        if meaning.type == "continuous":  # all at once; cell by cell only to name the one that is wrong
            try:
                quick = np.asarray(["nan" if cell is None else cell for cell in column]).astype(np.float64)
            except (TypeError, ValueError):
                quick = np.full(len(column), np.inf)
            if not np.isinf(quick).any() and np.isnan(quick).sum() == sum(cell is None for cell in column):
                return quick
        for row, cell in enumerate(column):
            if cell is None:
                continue
            value = _date(cell) if meaning.type == "date" else _number(cell, binary=meaning.type == "binary")
            wanted = {"date": "a date (YYYY-MM-DD)", "binary": "0 or 1", "integer": "a whole number"}.get(meaning.type, "a number")
            fits = value is not None and np.isfinite(value)
            if meaning.type == "binary":
                fits = fits and value in (0.0, 1.0)
            elif meaning.type == "integer":
                fits = fits and value == int(value)  # type: ignore[arg-type]
            if not fits or value is None:
                raise DataError(Problem(f'"{cell}" in the column "{name}" is not {wanted}', **self._place(row)))
            out[row] = value
        return out


def _plain(cell: Any) -> Any:
    """A Parquet cell as None, a number, a date or text."""
    if cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and cell.strip() in MISSING):
        return None
    return cell.strip() if isinstance(cell, str) else cell


def _label(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, bool | float) and float(cell).is_integer() else str(cell)


def _number(cell: Any, *, binary: bool = False) -> float | None:
    if binary and isinstance(cell, str) and cell in _TRUTH:
        return _TRUTH[cell]
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _date(cell: Any) -> float | None:
    try:
        return float((np.datetime64(str(cell)[:10], "D") - _EPOCH).astype(np.int64))
    except ValueError:
        return None


def _sorted_levels(labels: Iterable[str]) -> tuple[str, ...]:
    found = set(labels)
    numbers = {label: _number(label) for label in found}
    if all(value is not None for value in numbers.values()):
        return tuple(sorted(found, key=lambda label: (numbers[label], label)))
    return tuple(sorted(found))


def _inferred(column: Sequence[Any], *, undeclared: bool) -> Column:
    """The type of a column that no card describes."""
    known = [cell for cell in column if cell is not None]
    values = [value for cell in known if (value := _number(cell)) is not None and np.isfinite(value)]
    role = {"role": "post_baseline" if undeclared else "covariate"}
    if known and len(values) >= 0.9 * len(known):
        distinct = set(values)
        whole = all(value == int(value) for value in distinct) and len(values) == len(known)
        kind = "binary" if distinct == {0.0, 1.0} and whole else "integer" if whole and len(distinct) <= 10 else "continuous"
        return Column.model_validate({"type": kind, **role})
    kind = "categorical" if len({str(cell) for cell in known}) <= 20 else "text"
    return Column.model_validate({"type": kind, **role})
