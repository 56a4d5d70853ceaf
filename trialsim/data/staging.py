"""Where sources put what they read before it becomes one row per patient: three DuckDB tables of one shape for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialsim.errors import DataError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLES = {
    "persons": {"source": "VARCHAR", "person": "VARCHAR", "birth": "DATE", "death": "DATE", "file": "VARCHAR", "line": "BIGINT"},
    "events": {
        "source": "VARCHAR",
        "person": "VARCHAR",
        "kind": "VARCHAR",
        "system": "VARCHAR",
        "code": "VARCHAR",
        "start": "TIMESTAMP",
        "stop": "TIMESTAMP",
        "value": "DOUBLE",
        "unit": "VARCHAR",
        "text": "VARCHAR",
        "file": "VARCHAR",
        "line": "BIGINT",
        "record": "BIGINT",
    },
    "consents": {
        "source": "VARCHAR",
        "person": "VARCHAR",
        "permit": "BOOLEAN",
        "purpose": "VARCHAR",
        "jurisdiction": "VARCHAR",
        "start": "DATE",
        "expiry": "DATE",
        "file": "VARCHAR",
        "line": "BIGINT",
    },
}


@dataclass(frozen=True, slots=True)
class Filter:
    """How many rows were left after a step of reading, for the dataset card."""

    source: str
    step: str
    n: int


@dataclass
class Staging:
    """A DuckDB connection with the tables of `TABLES`; what was read, step by step; what is wrong.

    `persons`: one row per person of a source, as the source names them. `events`: everything that was said of a person,
    long. `kind` is `attribute` (a fact without a date: sex, ethnicity, a column of a table), `condition`, `observation`,
    `medication`, `visit`, `questionnaire`, `daily` (a feature of one day of a wearable; `code` is its name) or `score`
    (a polygenic score). `value` and `unit` hold a number, `text` a word. Times are UTC without zone. `file` and `line`
    (from 1; the row of a file without lines) are for messages. A record with several codes is several events, which have
    one number `record` (of their kind, in their file), so that it counts once; null where an event is alone. `consents`: a null `purpose` means every purpose.

    `asked` are the (system, code) pairs of all code lists, also where every event is wanted: a source that has to translate codes looks them up.

    Sources insert in bulk (SQL over files, or Arrow tables), never row by row.
    """

    connection: DuckDBPyConnection
    asked: frozenset[tuple[str, str]] = frozenset()
    filters: list[Filter] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def open(cls) -> Staging:
        """An empty staging area in memory. Raises DataError where DuckDB is not installed."""
        try:
            import duckdb
        except ModuleNotFoundError:
            raise DataError('DuckDB is needed to read these sources: pip install "trialsim[data]"') from None
        connection = duckdb.connect(":memory:")
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})")
        return cls(connection)

    def insert(self, table: str, query: str, parameters: Iterable[Any] = ()) -> int:
        """Appends the rows of a query whose columns have the table's names (others are null); returns how many."""
        columns = [name for name, *_ in self.connection.execute(f"DESCRIBE {query}", list(parameters)).fetchall()]
        unknown = sorted(set(columns) - TABLES[table].keys())
        assert not unknown, f"{table} has no columns {unknown}"
        return int(self.row(f"INSERT INTO {table} BY NAME ({query})", parameters)[0])

    def row(self, query: str, parameters: Iterable[Any] = ()) -> tuple[Any, ...]:
        """The first row of a query, for queries that have one; the result is read to its end, so that the connection is free again."""
        found: list[tuple[Any, ...]] = self.connection.execute(query, list(parameters)).fetchall()
        return found[0]

    def count(self, source: str, step: str, n: int) -> None:
        """Notes how many rows a step left."""
        self.filters.append(Filter(source, step, n))

    def problem(self, message: str, *, file: str = "", line: int | None = None) -> None:
        """Notes what is wrong; ingesting ends with all of them and writes nothing."""
        self.problems.append(Problem(message, file=file, line=line))


def quoted(word: str | None) -> str:
    """A word in SQL; NULL for none."""
    return "NULL" if word is None else "'" + word.replace("'", "''") + "'"


def utc(text: str) -> str:
    """SQL: a date or time written in ISO 8601 as UTC without zone, null where it is none; without an offset it counts as UTC."""
    zoned = f"regexp_matches({text}, ':.*(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
    dated = f"regexp_matches({text}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')"  # DuckDB also knows `infinity` and `epoch`
    return f"CASE WHEN NOT {dated} THEN NULL WHEN {zoned} THEN TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' ELSE TRY_CAST({text} AS TIMESTAMP) END"
