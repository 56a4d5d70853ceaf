"""Tables of a live OMOP database, through SQLAlchemy: only the columns and the concepts that are wanted travel."""

from __future__ import annotations

import datetime
import decimal
import os
import re
from collections.abc import Sequence
from typing import Any

from trialsim.data.sources.omop.tables import CLINICAL, DATE, INTEGER, NUMBER, TABLES, TIME
from trialsim.data.staging import Staging
from trialsim.errors import DataError, Problem, did_you_mean

BATCH = 50_000
"""Rows that are fetched at a time."""


class LiveDatabase:
    """The tables of a schema, read once, in one repeatable-read transaction where the database has it."""

    def __init__(self, staging: Staging, url: str, schema: str | None):
        try:
            import sqlalchemy as sa
        except ModuleNotFoundError:
            raise DataError('SQLAlchemy is needed to read a database: pip install "trialsim[data]"') from None
        self.staging, self.schema = staging, schema
        self.name = shown_url(url)
        try:
            self._engine = sa.create_engine(os.path.expandvars(url))
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
            raise DataError(Problem(f"cannot be opened: {_words(error)}", file=self.name)) from None
        one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self._engine.dialect.name == "postgresql" else {}
        try:
            self._connection = self._engine.connect().execution_options(**one_moment, stream_results=True, max_row_buffer=BATCH)
            self._tables = set(sa.inspect(self._connection).get_table_names(schema=schema)) | set(sa.inspect(self._connection).get_view_names(schema=schema))
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise DataError(Problem(f"cannot be opened: {_words(error)}", file=self.name)) from None
        if not self.has("person"):
            where = f'the schema "{schema}"' if schema else "the default schema"
            self.end()
            raise DataError(Problem(f'{where} has no table "person"{did_you_mean("person", self._tables)}', file=self.name))

    def has(self, table: str) -> bool:
        return table in self._tables

    def shown(self, table: str) -> str:
        """What messages call a table."""
        return f"{self.name} {self.schema + '.' if self.schema else ''}{table}"

    def open(self, table: str, concepts: str | None = None) -> str:
        """Copies a table into the staging area as `omop_<table>`; `line` counts its rows in the order they came.

        `concepts` is a table of the staging area with a column `concept_id`: of a clinical table (and of concepts and their
        ancestors) only rows with one of these are fetched, unless they are more than 10,000.
        """
        import duckdb
        import pyarrow as pa
        import sqlalchemy as sa

        of, connection = TABLES[table], self.staging.connection
        try:
            known = {column["name"].lower(): column["name"] for column in sa.inspect(self._connection).get_columns(table, schema=self.schema)}
            missing = [column for column in of.columns if column in of.needed and column not in known]
            if missing:
                raise DataError(Problem(f'there is no column "{column}"{did_you_mean(column, known)}', file=self.shown(table)) for column in missing)
            there = [column for column in of.columns if column in known]
            remote = sa.table(table, *[sa.column(known[column]) for column in there], schema=self.schema)
            query = sa.select(*[remote.c[known[column]].label(column) for column in there])
            wanted = None if concepts is None else [row for (row,) in connection.execute(f"SELECT DISTINCT concept_id FROM {concepts}").fetchall()]
            if wanted is not None and len(wanted) <= 10_000 and table in CLINICAL:
                clinical = CLINICAL[table]
                places = [remote.c[known[column]] for column in (clinical.concept, clinical.source_concept) if column in known]
                query = query.where(sa.or_(*[place.in_(wanted) for place in places]))
            kinds = {INTEGER: pa.int64(), NUMBER: pa.float64(), DATE: pa.date32(), TIME: pa.timestamp("us")}
            arrow = pa.schema([(column, kinds.get(of.columns[column], pa.string())) for column in there])
            columns = ", ".join(f"{column} {kind}" for column, kind in of.columns.items())
            connection.execute(f"CREATE OR REPLACE TEMP TABLE omop_{table} ({columns}, line BIGINT)")
            n = 0
            for rows in self._connection.execute(query).partitions(BATCH):
                batch = pa.table([_array(cells, kind) for cells, kind in zip(zip(*rows, strict=True), arrow.types, strict=True)], names=arrow.names)
                batch = batch.append_column("line", pa.array(range(n + 1, n + len(rows) + 1), pa.int64()))
                connection.register("omop_batch", batch)
                connection.execute(f"INSERT INTO omop_{table} BY NAME SELECT * FROM omop_batch")
                connection.unregister("omop_batch")
                n += len(rows)
        except (sa.exc.SQLAlchemyError, duckdb.Error) as error:
            raise DataError(Problem(f"cannot be read: {_words(error)}", file=self.shown(table))) from None
        return f"omop_{table}"

    def close(self, table: str) -> None:
        """Drops what `open` made."""
        self.staging.connection.execute(f"DROP TABLE IF EXISTS omop_{table}")

    def end(self) -> None:
        """Leaves the database."""
        self._connection.close()
        self._engine.dispose()


def _array(cells: Sequence[Any], kind: Any) -> Any:
    """A column of a batch. What is not of the type (dates that a database keeps as text) goes as text, and is converted on arrival."""
    import pyarrow as pa

    plain = [_plain(cell, str(kind)) for cell in cells]
    try:
        return pa.array(plain, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if cell is None else str(cell) for cell in plain], pa.string())


def _plain(cell: Any, kind: str) -> Any:
    """A number of Python's own kinds; a time with a zone in UTC; where a day is wanted, the day of a time."""
    if isinstance(cell, decimal.Decimal):
        return float(cell) if kind == "double" else int(cell)
    if isinstance(cell, datetime.datetime):
        if cell.tzinfo is not None:
            cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
        return cell.date() if kind.startswith("date") else cell
    return cell


def shown_url(url: str) -> str:
    """The address without a password."""
    return re.sub(r"(?i)(pass(?:word|wd)?|pwd)(=|%3D)[^&;\s]*", r"\1\2***", re.sub(r"(://[^:/@]*):[^/?#\s]*@", r"\1:***@", url))


def _words(error: Exception) -> str:
    """The first line of what the driver says, without the statement and its password."""
    first = str(getattr(error, "orig", None) or error).strip().splitlines()
    return shown_url(first[0]) if first else type(error).__name__
