"""CSV and Parquet files as Arrow tables whose rows know their line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.data.cells import is_parquet, unclosed_quote
from trialsim.data.shown_path import shown_path
from trialsim.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

LINE = "_row"
"""The last column of the table: the line of a row of CSV, the number of a row of Parquet (from 1)."""


def read_rows(path: Path) -> pa.Table:
    """A file as an Arrow table (cells of CSV as text) with the line of every row; DataError where it is none, or rows are of another length."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    shown = shown_path(path)
    try:
        if is_parquet(path):
            table = pyarrow.parquet.read_table(str(path))
            _check_header(table.column_names, shown)
            _check_rows(table, shown)
            return table.append_column(LINE, pa.array(range(1, table.num_rows + 1), pa.int64()))
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), None)
        if header is None:
            raise DataError(Problem("the file is empty", file=shown))
        if (open_at := unclosed_quote(path)) is not None:
            raise DataError(Problem("a quoted cell of the row is not closed before the file ends (cut off?)", file=shown, line=open_at))
        _check_header(header, shown)
        ragged: list[Any] = []

        def set_aside(row: Any) -> str:
            ragged.append(row)
            return "skip"

        table = pyarrow.csv.read_csv(
            str(path),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
            convert_options=pyarrow.csv.ConvertOptions(column_types={column: pa.string() for column in header}, strings_can_be_null=False),
        )
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown)) from None
    except UnicodeDecodeError:
        raise DataError(Problem("is not UTF-8 text", file=shown)) from None
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror or error}", file=shown)) from None
    except pa.ArrowInvalid as error:
        what = "Parquet" if is_parquet(path) else "CSV"
        raise DataError(Problem(f"is not a {what} file: {' '.join(str(error).split())}", file=shown)) from None
    lines = _lines(path, table.num_rows + len(ragged))
    if ragged:
        row, several = ragged[0], "" if len(ragged) == 1 else f"; {len(ragged)} rows are of another length"
        message = f"the row has {row.actual_columns} cells where the header has {row.expected_columns}{several}"
        raise DataError(Problem(message, file=shown, line=None if row.number is None else lines[row.number - 2]))
    _check_rows(table, shown)
    return table.append_column(LINE, pa.array(lines, pa.int64()))


def _check_rows(table: pa.Table, shown: str) -> None:
    if table.num_rows == 0:
        raise DataError(Problem("there are no rows below the header", file=shown))


def _check_header(header: Sequence[str], shown: str) -> None:
    problems = [Problem(f'the column name "{name}" occurs {count} times', file=shown, line=1) for name, count in Counter(header).items() if count > 1]
    if LINE in header:
        problems.append(Problem(f'the column name "{LINE}" is reserved', file=shown, line=1))
    if problems:
        raise DataError(problems)


def _lines(path: Path, n: int) -> Sequence[int]:
    """The line at which each of the `n` rows of a CSV file begins to be a row; counted only where cells span lines or lines are blank."""
    raw = path.read_bytes()
    n_lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    if n_lines == n + 1:
        return range(2, n + 2)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [rows.line_num for cells in rows if cells]
