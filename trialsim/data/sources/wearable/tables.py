"""Samples in CSV and Parquet files, one per row."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from trialsim.data.arrow_rows import LINE, read_rows
from trialsim.data.cells import MISSING, is_parquet
from trialsim.data.shown_path import shown_path
from trialsim.data.sources.wearable.samples import Samples
from trialsim.data.staging import quoted
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part


class SampleColumns(Part):
    """Which column is what; `{person, time, measure, value}` are columns of these names."""

    person: str = Field(description="The column that names the person.")
    time: str = Field(description="The column of times (ISO 8601): of the sample, or where its interval begins.")
    value: str = Field(description="The column of values.")
    measure: str | None = Field(default=None, description="The column that names the measure.")
    unit: str | None = Field(default=None, description="The column of units.")
    stop: str | None = Field(default=None, description="The column of times at which intervals end.")

    @model_validator(mode="before")
    @classmethod
    def _same_name(cls, given: Any) -> Any:
        """A key without a value is a column of that name."""
        return {key: key if name is None else name for key, name in given.items()} if isinstance(given, Mapping) else given


def read_tables(samples: Samples, paths: Sequence[Path], columns: SampleColumns, *, measure: str | None, measures: Sequence[str]) -> None:
    """Takes the rows of every file; `measure` is that of all rows, `measures` (none: all) those that are wanted."""
    connection = samples.staging.connection
    for path in paths:
        try:
            if not _stream(samples, path, columns, measure=measure, measures=measures):
                table = read_rows(path)
                connection.register("wearable_arrow", table)
                _take(samples, path, "wearable_arrow", columns, measure=measure, measures=measures)
        except DataError as error:
            samples.staging.problems += error.problems
        finally:
            connection.unregister("wearable_arrow")


def _take(
    samples: Samples, path: Path, rows: str, columns: SampleColumns, *, measure: str | None, measures: Sequence[str], expected: int | None = None
) -> bool:
    """Takes the rows of a relation that has their place in the column LINE. Raises DataError for columns that it lacks."""
    types = {name: str(kind) for name, kind, *_ in samples.staging.connection.execute(f"DESCRIBE FROM {rows}").fetchall()}
    known = [name for name in types if name != LINE]
    wanted = {key: name for key, name in columns.model_dump().items() if name is not None}
    absent = [name for name in wanted.values() if name not in known]
    if absent:
        raise DataError(Problem(f'there is no column "{name}"{did_you_mean(name, known)}', file=shown_path(path), line=1) for name in absent)
    cells = {
        key: _name(name) if key in ("time", "stop", "value") and types[name].startswith(_TYPED) else _cell(name, types[name]) for key, name in wanted.items()
    }
    nothing = "NULL::VARCHAR"
    given = {
        "person": cells["person"],
        "measure": quoted(measure) if measure is not None else cells["measure"],
        "start": cells["time"],
        "stop": cells.get("stop", nothing),
        "number": cells["value"],
        "unit": cells.get("unit", nothing),
        "line": _name(LINE),
    }
    return samples.take(path, f"SELECT {', '.join(f'{what} AS {key}' for key, what in given.items())} FROM {rows}", measures=measures, expected=expected)


def _stream(samples: Samples, path: Path, columns: SampleColumns, *, measure: str | None, measures: Sequence[str]) -> bool:
    """Takes the rows of a CSV file as DuckDB streams it; False where it cannot, or would not know their lines (blank ones, cells that span some)."""
    import duckdb

    if is_parquet(path):
        return False
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError):
        return False
    if not header or len({name.lower() for name in header}) < len(header) or LINE in header:
        return False
    kinds = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in header)
    options = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', null_padding = false"
    place = quoted(str(path).replace("[", "[[]").replace("*", "[*]").replace("?", "[?]"))
    read = f"(SELECT *, row_number() OVER () + 1 AS {_name(LINE)} FROM read_csv({place}, {options}, columns = {{{kinds}}}))"
    expected = _n_lines(path) - 1
    if not expected:
        return False
    try:
        return _take(samples, path, read, columns, measure=measure, measures=measures, expected=expected)
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return False


_TYPED = ("TIMESTAMP", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT")
"""The types of Parquet columns whose values are taken as they are, not as text."""


def _name(column: str) -> str:
    """A column in SQL."""
    return '"' + column.replace('"', '""') + '"'


def _cell(column: str, kind: str) -> str:
    """SQL: a cell as trimmed text, null where it is missing."""
    text = f"trim(CAST({_name(column)} AS VARCHAR))"
    if kind in ("DOUBLE", "FLOAT"):
        text = f"regexp_replace({text}, '\\.0$', '')"
    return f"CASE WHEN {text} IN ({', '.join(map(quoted, sorted(MISSING)))}) THEN NULL ELSE {text} END"


def _n_lines(path: Path) -> int:
    """How many lines a file has, whether or not the last one ends."""
    n, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            n += block.count(b"\n")
            last = block[-1:]
    return n + (last != b"\n")
