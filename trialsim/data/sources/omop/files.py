"""Tables of an OMOP extract in files: one CSV or Parquet file per table, named as the table."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from trialsim.data.cells import MISSING, is_parquet
from trialsim.data.shown_path import shown_path
from trialsim.data.sources.omop.tables import DATE, INTEGER, TABLES, TIME
from trialsim.data.staging import Staging, quoted
from trialsim.errors import DataError, Problem, did_you_mean

SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz")
_WORDS = {INTEGER: "a whole number", DATE: "a date (YYYY-MM-DD)", TIME: "a time"}


class ExtractInFiles:
    """The tables of a folder. Names of files and columns may be in capitals, as some exports have them.

    A .csv whose header has tabs and no commas is read as the vocabularies of Athena are written: tabs, and quotes are letters.
    """

    def __init__(self, staging: Staging, paths: Sequence[Path]):
        self.staging = staging
        found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.iterdir()))]
        self.files: dict[str, list[Path]] = {}
        for file in found:
            stem = file.name.lower()
            for suffix in SUFFIXES:
                if stem.endswith(suffix) and stem.removesuffix(suffix) in TABLES:
                    self.files.setdefault(stem.removesuffix(suffix), []).append(file)
        if not self.files:
            shown = shown_path(paths[0])
            raise DataError(Problem(f"holds no table of OMOP ({', '.join(sorted(TABLES))}, as .parquet or .csv)", file=shown))
        several = {table: files for table, files in self.files.items() if len(files) > 1}
        if several:
            raise DataError(Problem(f"the table {table} is there {len(files)} times", file=shown_path(files[0])) for table, files in several.items())

    def has(self, table: str) -> bool:
        return table in self.files

    def shown(self, table: str) -> str:
        """What messages call a table."""
        return shown_path(self.files[table][0])

    def open(self, table: str, concepts: str | None = None) -> str:
        """Makes the view `omop_<table>` with all its columns, typed, and `line`; returns its name.

        Cells that do not fit their column are noted as problems and null in the view. `concepts` is of use to databases only.
        Raises DataError for a file that cannot be read, without rows of columns it must have.
        """
        import duckdb

        path, of, connection = self.files[table][0], TABLES[table], self.staging.connection
        first = 1 if is_parquet(path) else 2
        read = (
            f"read_parquet({quoted(str(path))})"
            if is_parquet(path)
            else f"read_csv({quoted(str(path))}, header = true, all_varchar = true, {_dialect(path)}, parallel = false, null_padding = false)"
        )
        raw, view = f"omop_raw_{table}", f"omop_{table}"
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {raw} AS SELECT *, row_number() OVER () + {first - 1} AS line FROM {read}")
        except duckdb.Error as error:
            ragged = None if is_parquet(path) else _ragged(path)
            raise DataError(ragged or Problem(f"cannot be read: {' '.join(str(error).split())}", file=self.shown(table))) from None
        given = {name.lower(): name for name, *_ in connection.execute(f"DESCRIBE {raw}").fetchall()}
        missing = [column for column in of.columns if column in of.needed and column not in given]
        if missing:
            raise DataError(Problem(f'there is no column "{column}"{did_you_mean(column, given)}', file=self.shown(table), line=1) for column in missing)
        nothing = ", ".join(map(quoted, sorted(MISSING)))
        columns = []
        for column, kind in of.columns.items():
            if column not in given:
                columns.append(f"NULL::{kind} AS {column}")
                continue
            cell = f'CASE WHEN trim(CAST("{given[column]}" AS VARCHAR)) IN ({nothing}) THEN NULL ELSE trim(CAST("{given[column]}" AS VARCHAR)) END'
            self._check(table, raw, column, kind, cell)
            columns.append(f"TRY_CAST({cell} AS {kind}) AS {column}")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT {', '.join(columns)}, line FROM {raw}")
        return view

    def _check(self, table: str, raw: str, column: str, kind: str, cell: str) -> None:
        wrong = f"FROM (SELECT {cell} AS cell, line FROM {raw}) WHERE cell IS NOT NULL AND TRY_CAST(cell AS {kind}) IS NULL"
        n, line, example = self.staging.row(f"SELECT count(*), min(line), arg_min(cell, line) {wrong}")
        if n:
            others = f"; so are {n - 1:,} other rows" if n > 1 else ""
            self.staging.problem(f'"{example}" in the column "{column}" is not {_WORDS.get(kind, "a number")}{others}', file=self.shown(table), line=line)

    def close(self, table: str) -> None:
        """Drops what `open` made."""
        self.staging.connection.execute(f"DROP VIEW IF EXISTS omop_{table}")
        self.staging.connection.execute(f"DROP TABLE IF EXISTS omop_raw_{table}")


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8-sig", newline="") if path.suffix.lower() == ".gz" else path.open(encoding="utf-8-sig", newline="")


def _has_tabs(path: Path) -> bool:
    """Whether the header has tabs and no commas; false where the file cannot be read, which its reader will say."""
    try:
        with _opened(path) as file:
            header = file.readline(100_000)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False
    return "\t" in header and "," not in header


def _dialect(path: Path) -> str:
    """The options of DuckDB's read_csv."""
    return "delim = '\t', quote = '', escape = ''" if _has_tabs(path) else "delim = ',', quote = '\"', escape = '\"'"


def _ragged(path: Path) -> Problem | None:
    """The first row whose length is not that of the header."""
    try:
        with _opened(path) as file:
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if _has_tabs(path) else csv.reader(file)
            width = len(next(rows, []))
            for row in rows:
                if row and len(row) != width:
                    return Problem(f"the row has {len(row)} cells where the header has {width}", file=shown_path(path), line=rows.line_num)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return None
    return None
