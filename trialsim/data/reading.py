"""Reading patient-level data from CSV or Parquet."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.data.card import Card, Column
from trialsim.data.cells import MISSING, is_parquet, number, place_of_row, unclosed_quote
from trialsim.data.table import PatientTable
from trialsim.errors import DataError, Problem, did_you_mean

_EPOCH = np.datetime64("1970-01-01", "D")
_PARTIAL = re.compile(r"[0-9]{4}(-[0-9]{2})?")


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
    cells = reader.parquet() if is_parquet(path) else reader.csv()
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
            if (open_at := unclosed_quote(self.path)) is not None:
                raise DataError(Problem("a quoted cell of the row is not closed before the file ends (cut off?)", file=self.name, line=open_at))
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
        return place_of_row(self.path, self.name, row)

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
            value = _date(cell) if meaning.type == "date" else number(cell, binary=meaning.type == "binary")
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


def _date(cell: Any) -> float | None:
    """Days since 1970-01-01 of a day, with or without a time, of a month or of a year (their first days); None for anything else."""
    text = str(cell)
    try:
        day = text if _PARTIAL.fullmatch(text) else datetime.fromisoformat(text).date().isoformat()
        return float((np.datetime64(day, "D") - _EPOCH).astype(np.int64))
    except ValueError:
        return None


def _sorted_levels(labels: Iterable[str]) -> tuple[str, ...]:
    found = set(labels)
    numbers = {label: number(label) for label in found}
    if all(value is not None for value in numbers.values()):
        return tuple(sorted(found, key=lambda label: (numbers[label], label)))
    return tuple(sorted(found))


def _inferred(column: Sequence[Any], *, undeclared: bool) -> Column:
    """The type of a column that no card describes."""
    known = [cell for cell in column if cell is not None]
    values = [value for cell in known if (value := number(cell)) is not None and np.isfinite(value)]
    role = {"role": "post_baseline" if undeclared else "covariate"}
    if known and len(values) >= 0.9 * len(known):
        distinct = set(values)
        whole = all(value == int(value) for value in distinct) and len(values) == len(known)
        kind = "binary" if distinct == {0.0, 1.0} and whole else "integer" if whole and len(distinct) <= 10 else "continuous"
        return Column.model_validate({"type": kind, **role})
    kind = "categorical" if len({str(cell) for cell in known}) <= 20 else "text"
    return Column.model_validate({"type": kind, **role})
