"""An OMOP extract or database as a source: `kind: omop`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.shown_path import shown_path
from trialsim.data.sources.omop.database import LiveDatabase
from trialsim.data.sources.omop.files import ExtractInFiles
from trialsim.data.sources.omop.tables import CLINICAL, CONCEPT_SYSTEM, SEXES, VOCABULARIES
from trialsim.data.sources.source import Source
from trialsim.data.staging import Staging, quoted
from trialsim.errors import DataError, Problem

Tables = ExtractInFiles | LiveDatabase


class Omop(Source):
    """Persons, deaths and clinical records of an OMOP CDM 5.4.

    A code list's system is that of FHIR (http://loinc.org) or a vocabulary_id (LOINC); its codes are found in the table of
    concepts, and so are the units. The system `OMOP` takes concept ids and needs no such table. Standard and source
    concepts both count. With `descendants` a code stands for everything below it in `concept_ancestor`.

    Attributes: `sex`, `race`, `ethnicity`, `observation_start`, `observation_end` (dates: the first and the last day of the observation periods).
    Conditions, drugs, measurements, observations, procedures and visits become events; zero (no matching concept) is none.
    An operator (<, >) of a measurement is counted, its number is taken as it is. A birth without a month or day is 1 January or the first.

    Where every event is wanted (follow-up ends at a person's last record), the records of no code list have the system `OMOP` and their concept id.

    Not handled: eras, notes, specimens, costs, episodes; care sites and providers; local times (they are taken as UTC).
    """

    kind: Literal["omop"]
    files: str | None = Field(default=None, description="The folder (or pattern) of the extract: one .parquet, .csv or .csv.gz file per table.")
    database: str | None = Field(default=None, description="A database instead, as an address of SQLAlchemy; $NAMES of the environment are filled in.")
    table_schema: str | None = Field(default=None, alias="schema", description="The schema of the database in which the tables are.")
    descendants: bool = Field(default=False, description="Whether a code stands for its descendants too (concept_ancestor).")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.files is None) == (self.database is None):
            raise PydanticCustomError("omop", "give either `files` or `database`")
        if self.table_schema is not None and self.database is None:
            raise PydanticCustomError("omop", "`schema` is of a database")
        return self

    def inputs(self, folder: Path) -> list[Path]:
        """Every file of the extract; none of a database."""
        return [] if self.files is None else [file for path in self._paths(folder) for file in ([path] if path.is_file() else sorted(path.iterdir()))]

    def _paths(self, folder: Path) -> list[Path]:
        pattern = str(self.files)
        found = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
        found = [path for path in found if path.exists()]
        if not found:
            raise DataError(Problem("there is no such file", file=shown_path(folder / pattern)))
        return found

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons and events; notes every row that cannot be read."""
        tables: Tables = ExtractInFiles(staging, self._paths(folder)) if self.database is None else LiveDatabase(staging, self.database, self.table_schema)
        try:
            _Reading(self, staging, tables, name).read(codes)
        finally:
            if isinstance(tables, LiveDatabase):
                tables.end()


class _Reading:
    """One extract on its way into the staging area."""

    def __init__(self, source: Omop, staging: Staging, tables: Tables, name: str):
        self.source, self.staging, self.tables, self.name = source, staging, tables, name

    def read(self, codes: frozenset[tuple[str, str]]) -> None:
        if not self.tables.has("person"):
            raise DataError(Problem('there is no table "person"', file=self._where()))
        has_concepts = self.tables.has("concept")
        self.every = not codes
        self._wanted(codes or self.staging.asked, has_concepts)
        self._persons(has_concepts)
        for table in CLINICAL:
            if self.tables.has(table):
                self._events(table, has_concepts)
        if has_concepts:
            self.tables.close("concept")
        self.staging.connection.execute("DROP TABLE omop_wanted")

    def _where(self) -> str:
        return self.tables.name if isinstance(self.tables, LiveDatabase) else shown_path(next(iter(self.tables.files.values()))[0].parent)

    def _wanted(self, codes: frozenset[tuple[str, str]], has_concepts: bool) -> None:
        """Makes `omop_wanted`: concept_id, and the system and code under which its records are asked for."""
        connection = self.staging.connection
        connection.execute("CREATE OR REPLACE TEMP TABLE omop_asked (system VARCHAR, code VARCHAR, vocabulary VARCHAR)")
        for system, code in sorted(codes):
            connection.execute("INSERT INTO omop_asked VALUES (?, ?, ?)", [system, code, VOCABULARIES.get(system, system)])
        own = f"SELECT TRY_CAST(code AS BIGINT) AS concept_id, system, code FROM omop_asked WHERE system = {quoted(CONCEPT_SYSTEM)}"
        found = own
        if has_concepts:
            self.tables.open("concept")
            found += " UNION SELECT c.concept_id, a.system, a.code FROM omop_concept c JOIN omop_asked a ON c.vocabulary_id = a.vocabulary AND c.concept_code = a.code"
        elif any(system != CONCEPT_SYSTEM for system, _ in codes):
            message = f'there is no table "concept"; without it the codes of a list are concept ids (system: {CONCEPT_SYSTEM})'
            self.staging.problem(message, file=self._where())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE omop_wanted AS SELECT * FROM ({found}) WHERE concept_id IS NOT NULL")
        if self.source.descendants:
            if not self.tables.has("concept_ancestor"):
                raise DataError(Problem('descendants need the table "concept_ancestor"', file=self._where()))
            self.tables.open("concept_ancestor")
            connection.execute("""INSERT INTO omop_wanted SELECT DISTINCT x.descendant_concept_id, w.system, w.code
                FROM omop_wanted w JOIN omop_concept_ancestor x ON x.ancestor_concept_id = w.concept_id
                WHERE NOT EXISTS (SELECT 1 FROM omop_wanted o WHERE (o.concept_id, o.system, o.code) = (x.descendant_concept_id, w.system, w.code))""")
            self.tables.close("concept_ancestor")
        connection.execute("DROP TABLE omop_asked")

    def _persons(self, has_concepts: bool) -> None:
        self.tables.open("person")
        dead = self.tables.has("death")
        if dead:
            self.tables.open("death")
        file = quoted(self.tables.shown("person"))
        count = self.staging.row("SELECT count(*) FROM omop_person")[0]
        self.staging.count(self.name, "person", int(count))
        n, line = self.staging.row("SELECT count(*), min(line) FROM omop_person WHERE person_id IS NULL")
        if n:
            self.staging.problem(f"no person_id; {n:,} such rows", file=self.tables.shown("person"), line=line)
        birth = "coalesce(CAST(birth_datetime AS DATE), make_date(year_of_birth, coalesce(month_of_birth, 1), coalesce(day_of_birth, 1)))"
        n, line = self.staging.row(
            "SELECT count(*), min(line) FROM omop_person WHERE birth_datetime IS NULL AND year_of_birth IS NOT NULL AND "
            "(year_of_birth NOT BETWEEN 1000 AND 9999 OR TRY_CAST(printf('%04d-%02d-%02d', year_of_birth, coalesce(month_of_birth, 1), coalesce(day_of_birth, 1)) AS DATE) IS NULL)"
        )
        if n:
            self.staging.problem(f"the day of birth is none of the calendar; {n:,} such rows", file=self.tables.shown("person"), line=line)
            birth = "CAST(birth_datetime AS DATE)"
        died = (
            "(SELECT person_id, min(death_date) AS death FROM omop_death GROUP BY person_id)"
            if dead
            else "(SELECT NULL::BIGINT AS person_id, NULL::DATE AS death)"
        )
        of = f"SELECT {quoted(self.name)} AS source, CAST(p.person_id AS VARCHAR) AS person, {file} AS file, line"
        self.staging.insert("persons", f"{of}, {birth} AS birth, d.death FROM omop_person p LEFT JOIN {died} d USING (person_id) WHERE person_id IS NOT NULL")
        sexes = " ".join(f"WHEN {concept} THEN {quoted(word)}" for concept, word in SEXES.items())
        for attribute, column in (("sex", "gender_concept_id"), ("race", "race_concept_id"), ("ethnicity", "ethnicity_concept_id")):
            named = f"(SELECT concept_name FROM omop_concept c WHERE c.concept_id = p.{column} LIMIT 1)" if has_concepts else "NULL"
            known = f"CASE p.{column} {sexes} END" if attribute == "sex" else "NULL"
            text = f"coalesce({known}, {named}, CAST(nullif(p.{column}, 0) AS VARCHAR))"
            self._attribute(attribute, f"{of}, {text} AS text FROM omop_person p WHERE p.{column} <> 0 AND person_id IS NOT NULL")
        self.tables.close("person")
        if dead:
            self.tables.close("death")
        if self.tables.has("observation_period"):
            self.tables.open("observation_period")
            file = quoted(self.tables.shown("observation_period"))
            for attribute, chosen in (("observation_start", "min(observation_period_start_date)"), ("observation_end", "max(observation_period_end_date)")):
                one = f"SELECT {quoted(self.name)} AS source, CAST(person_id AS VARCHAR) AS person, {file} AS file, min(line) AS line, CAST({chosen} AS VARCHAR) AS text"
                self._attribute(attribute, f"{one} FROM omop_observation_period WHERE person_id IS NOT NULL GROUP BY person_id")
            self.tables.close("observation_period")

    def _attribute(self, name: str, query: str) -> None:
        self.staging.insert("events", f"SELECT *, 'attribute' AS kind, {quoted(name)} AS code FROM ({query}) WHERE text IS NOT NULL ORDER BY line")

    def _events(self, table: str, has_concepts: bool) -> None:
        """Records of the wanted concepts, standard or source; one that is wanted under both is one event per code."""
        self.tables.open(table, None if self.every else "omop_wanted")
        of, file, view = CLINICAL[table], self.tables.shown(table), f"omop_{table}"
        if isinstance(self.tables, ExtractInFiles):
            self.staging.count(self.name, table, int(self.staging.row(f"SELECT count(*) FROM {view}")[0]))
        for column, where in (("person_id", "person_id IS NULL"), (of.date, f"{of.date} IS NULL AND {of.time} IS NULL")):
            n, line = self.staging.row(f"SELECT count(*), min(line) FROM {view} WHERE {where}")
            if n:
                self.staging.problem(f"no {column}; {n:,} such rows", file=file, line=line)
        value = unit = text = "NULL"
        names = ""
        if of.value:
            value = "r.value_as_number"
            word = "v.concept_name" if has_concepts else "NULL"
            unit = f"coalesce({'u.concept_code' if has_concepts else 'NULL'}, r.unit_source_value)"
            said = "r.value_as_string" if table == "observation" else "NULL"
            text = f"CASE WHEN r.value_as_number IS NULL THEN coalesce({said}, {word}, CAST(nullif(r.value_as_concept_id, 0) AS VARCHAR)) END"
            if has_concepts:
                named = "(SELECT concept_id, any_value(concept_code) AS concept_code, any_value(concept_name) AS concept_name FROM omop_concept WHERE concept_id <> 0 GROUP BY concept_id)"
                names = f"LEFT JOIN {named} u ON u.concept_id = r.unit_concept_id LEFT JOIN {named} v ON v.concept_id = r.value_as_concept_id"
        end = "NULL" if of.end is None else f"CAST(r.{of.end} AS TIMESTAMP)"
        already = f"NOT EXISTS (SELECT 1 FROM omop_wanted s WHERE s.concept_id = r.{of.concept} AND s.system = w.system AND s.code = w.code)"
        kept = 0
        unasked = " AND ".join(f"NOT EXISTS (SELECT 1 FROM omop_wanted s WHERE s.concept_id = r.{concept})" for concept in (of.concept, of.source_concept))
        others = f"(SELECT DISTINCT {of.concept} AS concept_id, {quoted(CONCEPT_SYSTEM)} AS system, CAST({of.concept} AS VARCHAR) AS code FROM {view})"
        chosen = [(of.concept, "omop_wanted", "w.concept_id <> 0"), (of.source_concept, "omop_wanted", f"w.concept_id <> 0 AND {already}")]
        for concept, lists, where in [*chosen, *([(of.concept, others, unasked)] if self.every else [])]:
            query = f"""SELECT {quoted(self.name)} AS source, CAST(r.person_id AS VARCHAR) AS person, {quoted(of.kind)} AS kind, w.system, w.code,
                coalesce(r.{of.time}, CAST(r.{of.date} AS TIMESTAMP)) AS start, {end} AS stop, {value} AS value, {unit} AS unit, {text} AS text,
                {quoted(file)} AS file, r.line FROM {view} r JOIN {lists} w ON w.concept_id = r.{concept} {names}
                WHERE r.person_id IS NOT NULL AND {where}"""
            kept += self.staging.insert("events", query)
        self.staging.count(self.name, f"{table}{'' if self.every else ' of wanted codes'}, as events", kept)
        if table == "measurement":
            n = int(self.staging.row("SELECT count(*) FROM omop_measurement WHERE operator_concept_id NOT IN (0, 4172703)")[0])
            if n:
                self.staging.count(self.name, "measurement with an operator, read as the number", n)
        self.tables.close(table)
