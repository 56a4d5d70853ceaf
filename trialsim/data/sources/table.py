"""CSV and Parquet tables with a column of persons: their columns are attributes, dated observations, or consents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.arrow_rows import LINE, read_rows
from trialsim.data.card import Purpose
from trialsim.data.cells import MISSING, TRUTH
from trialsim.data.shown_path import shown_path
from trialsim.data.sources.source import FileSource
from trialsim.data.staging import Staging, quoted, utc
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part

if TYPE_CHECKING:
    import pyarrow as pa

EventKind = Literal["condition", "observation", "medication", "visit"]
PERMIT = ("1", "1.0", "true", "yes", "permit")
DENY = ("0", "0.0", "false", "no", "deny")


class ObservedColumn(Part):
    """A column of dated values, one code for all of them."""

    system: str = Field(description="The code system, as the code lists write it.")
    code: str = Field(description="The code of every value of this column.")
    unit: str = Field(default="", description="The unit of its numbers.")
    event: EventKind = Field(default="observation", description="What kind of event a cell is. A missing cell is none.")


class ConsentColumns(Part):
    """Where a table says what a person permits: a column per purpose, or a row per purpose."""

    purposes: dict[Purpose, str] = Field(default_factory=dict, description="Purpose → its column (1, true, yes, permit or 0, false, no, deny).")
    permit: str | None = Field(default=None, description="The column that permits or denies, where a row is one decision.")
    purpose: str | None = Field(default=None, description="The column of the purpose of a row's decision. Absent, or a missing cell: every purpose.")
    jurisdiction: str | None = Field(default=None, description="The column of the jurisdiction.")
    start: str | None = Field(default=None, description="The column of the first day.")
    expiry: str | None = Field(default=None, description="The column of the last day. A missing cell: no end.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.purposes) == (self.permit is not None):
            raise PydanticCustomError("consent", "give either `purposes` (a column per purpose) or `permit` (a row per decision)")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        named = (self.permit, self.purpose, self.jurisdiction, self.start, self.expiry)
        return (*self.purposes.values(), *(column for column in named if column is not None))


class TableSource(FileSource):
    """One or several CSV (UTF-8, comma, header line) or Parquet files with the same columns.

    Without `date` a row is a person: every column that is not otherwise named is an attribute of that name, a number where
    all its cells are (true and false are 1 and 0) and else a word. With `date` a row is something dated: `observations`
    names columns of values (wide), or `code` a column of codes with `value` and `unit` (long); only the columns named in
    `attributes` are attributes. Dates are ISO 8601; a time with an offset becomes UTC, one without is taken as UTC.
    Rows without a date are counted and left out.
    """

    kind: Literal["table"]
    person: str = Field(description="The column that names the person.")
    birth: str | None = Field(default=None, description="The column of the date of birth.")
    death: str | None = Field(default=None, description="The column of the date of death.")
    attributes: tuple[str, ...] | None = Field(default=None, description="The columns that are attributes. Absent: all others; with `date`: none.")
    units: dict[str, str] = Field(default_factory=dict, description="Attribute → the unit of its numbers.")
    date: str | None = Field(default=None, description="The column of the date (or time) of a row.")
    observations: dict[str, ObservedColumn] = Field(default_factory=dict, description="Column → what its dated values are.")
    code: str | None = Field(default=None, description="The column of codes.")
    system: str | None = Field(default=None, description="The system of all codes in `code`.")
    system_column: str | None = Field(default=None, description="The column of the system of each code.")
    value: str | None = Field(default=None, description="The column of values.")
    unit: str | None = Field(default=None, description="The column of units of the values.")
    stop: str | None = Field(default=None, description="The column of the date at which it ended.")
    event: EventKind = Field(default="observation", description="What kind of event a row with a code is.")
    consent: ConsentColumns | None = Field(default=None, description="The columns of consent.")

    @model_validator(mode="after")
    def _forms(self) -> Self:
        wrong = None
        if self.date is None and (self.observations or self.code):
            wrong = "date", "is missing: `observations` and `code` are dated"
        elif self.date is not None and not (self.observations or self.code):
            wrong = "date", "needs `observations` or `code` to say what is dated"
        elif self.code is not None and (self.system is None) == (self.system_column is None):
            wrong = "code", "needs either `system` or `system_column`"
        elif self.code is None and (given := [key for key in ("system", "system_column", "value", "unit", "stop") if getattr(self, key) is not None]):
            wrong = given[0], "needs `code`, the column of codes"
        if wrong is not None:
            raise PydanticCustomError("table", "{words}", {"key": wrong[0], "words": wrong[1]})
        return self

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Inserts persons, events and consents. Every event is kept, whatever its code, because follow-up ends at the last."""
        n_rows = n_dated = 0
        tables = []
        for path in self.paths(folder):
            try:
                tables.append((path, read_rows(path)))
            except DataError as error:
                staging.problems += error.problems
        for path, table in tables:
            problem = self._lacking(table.column_names, shown_path(path))
            if problem:
                staging.problems += problem
                continue
            n_rows += table.num_rows
            n_dated += _Reading(self, staging, name=name, path=path, table=table).insert()
        staging.count(name, "rows", n_rows)
        if self.date is not None:
            staging.count(name, "rows with a date", n_dated)

    def _named(self) -> Iterator[str]:
        """The columns that this source names."""
        single = (self.person, self.birth, self.death, self.date, self.code, self.system_column, self.value, self.unit, self.stop)
        yield from (column for column in single if column is not None)
        yield from (*self.observations, *(self.consent.columns if self.consent is not None else ()))

    def attribute_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The columns of a file that become attributes."""
        if self.attributes is not None:
            return self.attributes
        named = set(self._named())
        return () if self.date is not None else tuple(column for column in columns if column not in named and column != LINE)

    def _lacking(self, columns: Sequence[str], shown: str) -> list[Problem]:
        known = [column for column in columns if column != LINE]
        named = dict.fromkeys((*self._named(), *(self.attributes or ()), *self.units))
        return [Problem(f'there is no column "{column}"{did_you_mean(column, known)}', file=shown, line=1) for column in named if column not in known]


class _Reading:
    """One file on its way into the staging area; the table `given` holds its cells, with the line of each row last."""

    def __init__(self, source: TableSource, staging: Staging, *, name: str, path: Path, table: pa.Table):
        self.source, self.staging, self.name, self.path = source, staging, name, path
        self.columns = table.column_names
        self.at = {column: f"c{place}" for place, column in enumerate(self.columns)}
        self.shown = shown_path(path)
        cells = ", ".join(
            f"{at if column == LINE else _cleaned(at, str(table.schema.field(place).type))} AS {at}" for place, (column, at) in enumerate(self.at.items())
        )
        staging.connection.register("given_cells", table.rename_columns(list(self.at.values())))
        try:
            staging.connection.execute(f"CREATE OR REPLACE TEMP TABLE given AS SELECT {cells} FROM given_cells")
        finally:
            staging.connection.unregister("given_cells")

    def insert(self) -> int:
        """Inserts everything; returns how many rows have a date."""
        source = self.source
        for column in (source.birth, source.death, source.date, source.stop):
            self._check_dates(column)
        consent = source.consent
        for column in (consent.start, consent.expiry) if consent is not None else ():
            self._check_dates(column)
        self._count_wrong(f"{self._cell(source.person)} IS NULL", f'no person in the column "{source.person}"')
        self._persons()
        for column in source.attribute_columns(self.columns):
            self._attribute(column)
        for column, meaning in source.observations.items():
            of = {"kind": quoted(meaning.event), "system": quoted(meaning.system), "code": quoted(meaning.code), "unit": quoted(meaning.unit or None)}
            self._dated(column, of)
        if source.code is not None:
            system = quoted(source.system) if source.system_column is None else self._cell(source.system_column)
            of = {"kind": quoted(source.event), "system": system, "code": self._cell(source.code), "unit": self._cell(source.unit)}
            self._dated(source.value, {**of, "stop": self._time(source.stop)}, where=f"{self._cell(source.code)} IS NOT NULL")
        if consent is not None:
            self._consents(consent)
        n_dated = 0 if source.date is None else int(self.staging.row(f"SELECT count({self._cell(source.date)}) FROM given")[0])
        self.staging.connection.execute("DROP TABLE given")
        return n_dated

    def _cell(self, column: str | None) -> str:
        """SQL: a cell as text, null where it is missing."""
        return "NULL" if column is None else self.at[column]

    def _time(self, column: str | None) -> str:
        return "NULL::TIMESTAMP" if column is None else f"({utc(self._cell(column))})"

    def _rows(self, columns: Mapping[str, str], where: str = "true") -> str:
        """SQL: rows for the staging area with their place and their person."""
        given = {"source": quoted(self.name), "person": self._cell(self.source.person), "file": quoted(self.shown), "line": self.at[LINE], **columns}
        return f"SELECT {', '.join(f'{what} AS {column}' for column, what in given.items())} FROM given WHERE {given['person']} IS NOT NULL AND ({where})"

    def _check_dates(self, column: str | None) -> None:
        """Notes the cells of a column that are no dates."""
        if column is not None:
            cell = self._cell(column)
            self._count_wrong(f"{cell} IS NOT NULL AND {self._time(column)} IS NULL", f'in the column "{column}" is not a date (YYYY-MM-DD)', cell)

    def _count_wrong(self, where: str, what: str, cell: str = "") -> None:
        """Notes how many rows are wrong, with the first of them."""
        shown = f"arg_min({cell}, {self.at[LINE]})" if cell else "NULL"
        n, line, example = self.staging.row(f"SELECT count(*), min({self.at[LINE]}), {shown} FROM given WHERE {where}")
        if n:
            others = "" if n == 1 else f"; so are {n - 1:,} other rows" if cell else f"; {n:,} such rows"
            self.staging.problem(f'"{example}" {what}{others}' if cell else f"{what}{others}", file=self.shown, line=line)

    def _persons(self) -> None:
        """A row per person: every row where a row is a person (so that a repeated one is found), else the first of each."""
        source = self.source
        dates = {"birth": f"CAST({self._time(source.birth)} AS DATE)", "death": f"CAST({self._time(source.death)} AS DATE)"}
        rows = self._rows(dates)
        if source.date is None and not (source.consent is not None and source.consent.permit is not None):
            self.staging.insert("persons", rows)
            return
        for column, what in (("birth", source.birth), ("death", source.death)):
            if what is not None:
                several = f"SELECT person, min(line) AS line FROM ({rows}) GROUP BY person HAVING count(DISTINCT {column}) > 1"
                n, line = self.staging.row(f"SELECT count(*), min(line) FROM ({several})")
                if n:
                    self.staging.problem(f'{n:,} persons have several values in the column "{what}" (the first here)', file=self.shown, line=line)
        new = f"person NOT IN (SELECT person FROM persons WHERE source = {quoted(self.name)} AND person IS NOT NULL)"
        first = "source, person, min(birth) AS birth, min(death) AS death, any_value(file) AS file, min(line) AS line"
        self.staging.insert("persons", f"SELECT {first} FROM ({rows}) WHERE {new} GROUP BY source, person ORDER BY line")

    def _attribute(self, column: str) -> None:
        cell = self._cell(column)
        truths = ", ".join(map(quoted, TRUTH))
        asked = (
            f"bool_and({cell} IS NULL OR coalesce(isfinite(TRY_CAST({cell} AS DOUBLE)), false)), bool_and({cell} IS NULL OR {cell} IN ({truths})) FROM given"
        )
        numbers, truth = self.staging.row(f"SELECT {asked}")
        of = {"kind": "'attribute'", "code": quoted(column)}
        if truth or numbers:
            of["value"] = f"CAST(lower({cell}) = 'true' AS DOUBLE)" if truth else f"CAST({cell} AS DOUBLE)"
            of["unit"] = quoted(self.source.units.get(column))
        else:
            of["text"] = cell
        distinct = "SELECT DISTINCT ON (person, value, text)" if self.source.date is not None else "SELECT"
        rows = self._rows({"value": "NULL::DOUBLE", "text": "NULL::VARCHAR", **of}, f"{cell} IS NOT NULL")
        self.staging.insert("events", f"{distinct} * FROM ({rows}) ORDER BY line")

    def _dated(self, column: str | None, of: Mapping[str, str], where: str = "true") -> None:
        """Events with the date of their row; the value is a number where it can be and else text."""
        cell = self._cell(column)
        kept = f"{self._time(self.source.date)} IS NOT NULL AND ({where})"
        if column is not None and self.source.code is None:
            kept += f" AND {cell} IS NOT NULL"
        number = f"TRY_CAST({cell} AS DOUBLE)"
        value = {"value": number, "text": f"CASE WHEN {number} IS NULL THEN {cell} END"}
        self.staging.insert("events", self._rows({**of, "start": self._time(self.source.date), **value}, kept))

    def _consents(self, consent: ConsentColumns) -> None:
        of = {
            "jurisdiction": self._cell(consent.jurisdiction),
            "start": f"CAST({self._time(consent.start)} AS DATE)",
            "expiry": f"CAST({self._time(consent.expiry)} AS DATE)",
        }
        decisions = [(column, quoted(purpose)) for purpose, column in consent.purposes.items()]
        if consent.permit is not None:
            decisions.append((consent.permit, self._cell(consent.purpose)))
        for column, purpose in decisions:
            cell = f"lower({self._cell(column)})"
            known = ", ".join(map(quoted, (*PERMIT, *DENY)))
            self._count_wrong(f"{cell} IS NOT NULL AND {cell} NOT IN ({known})", f'in the column "{column}" neither permits nor denies', self._cell(column))
            permits = f"{cell} IN ({', '.join(map(quoted, PERMIT))})"
            self.staging.insert("consents", self._rows({**of, "permit": permits, "purpose": purpose}, f"{cell} IN ({known})"))


def _cleaned(column: str, kind: str) -> str:
    """SQL: a column of an Arrow type as trimmed text, null where a cell is missing; whole numbers without `.0`."""
    text = f"trim(CAST({column} AS VARCHAR))"
    if kind in ("double", "float", "halffloat"):
        text = f"CASE WHEN abs({column}) < 1e15 AND {column} = floor({column}) THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE {text} END"
    return f"CASE WHEN {text} IN ({', '.join(map(quoted, sorted(MISSING)))}) THEN NULL ELSE {text} END"
