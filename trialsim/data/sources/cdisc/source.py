"""CDISC datasets as a source: `kind: cdisc`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trialsim.data.sources.cdisc.loading import Dataset, load
from trialsim.data.sources.source import FileSource
from trialsim.data.staging import Staging, quoted
from trialsim.errors import DataError, did_you_mean

PERSON = "USUBJID"
_NOT_FACTS = {PERSON, "STUDYID", "DOMAIN", "SUBJID"}
_SAS_EPOCH = "DATE '1960-01-01'"
_DESIGN = {"TA", "TD", "TE", "TI", "TM", "TS", "TV", "RELREC", "OI"}
"""Datasets that are of no subject."""
_TERMS = {"AE": "condition", "MH": "condition", "CE": "condition", "DS": "condition", "CM": "medication", "EX": "medication", "PR": "observation"}
"""SDTM domains of events and interventions, and the kind of event their records are."""


class Cdisc(FileSource):
    """SDTM domains and ADaM datasets of one study, a file each: .parquet, .xpt, .json or .ndjson (Dataset-JSON).

    One row per USUBJID (ADSL, DM): every column becomes an attribute; birth is BRTHDT or BRTHDTC, death DTHDT or DTHDTC.
    Other datasets become events whose *system* in a code list is the dataset's name (the domain, VS, or the file's, ADADAS) and whose *code* is

        PARAMCD                  ADaM basic data structure: AVAL (else AVALC) at ADTM or ADT; of a time to event (CNSR) only CNSR = 0 is
                                 an event, and a censored one is a visit, so that follow-up goes on until then
        --TESTCD                 SDTM findings: --STRESN (else --STRESC) in --STRESU at --DTC
        --DECOD, else --TERM, --TRT   SDTM events and interventions (AE, MH, CE, DS, CM, EX, PR) and ADaM occurrences; visits (SV) by VISIT, from --STDTC (ASTDT) to --ENDTC (AENDT)

    Partial dates are their first day, and counted; records without a date are counted and left out. Numeric SAS dates count
    from 1960-01-01. A test that was not done (--STAT) has no value and is left out.

    Not handled: study days without dates, supplemental qualifiers, RELREC, value-level metadata of define.xml, several studies in one source.
    **Source:** CDISC SDTMIG 3.4, ADaMIG 1.3, Dataset-JSON 1.1.
    """

    kind: Literal["cdisc"]
    where: dict[str, str] = Field(default_factory=dict, description="Only records with these values, in datasets that have the column: {ANL01FL: Y}.")

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons and events. Every dated record is kept, whatever its code, because follow-up ends at the last."""
        datasets: list[Dataset] = []
        for path in self.inputs(folder):
            try:
                datasets.append(load(path))
            except DataError as error:
                staging.problems += error.problems
        subject_level = [dataset for dataset in datasets if dataset.name.startswith("ADSL") or dataset.name == "DM"]
        if not subject_level and not staging.problems:
            staging.problem(f"none of the {len(datasets)} datasets is ADSL or DM, which say who the subjects are")
        there = {column for dataset in datasets for column in dataset.rows.column_names}
        for column in self.where:
            if column.upper() not in there:
                staging.problem(f'where: no dataset has the column "{column}"{did_you_mean(column.upper(), there)}')
        for dataset in datasets:
            _Reading(staging, name, dataset, self.where).insert(
                is_subject_level=dataset in subject_level, first=dataset is subject_level[0] if subject_level else False
            )


def quoted_name(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


class _Reading:
    """One dataset on its way into the staging area."""

    def __init__(self, staging: Staging, source: str, dataset: Dataset, where: dict[str, str]):
        self.staging, self.source, self.dataset = staging, source, dataset
        self.columns = set(dataset.rows.column_names)
        self.types = {name: str(dataset.rows.schema.field(name).type) for name in self.columns}
        self.where = [(column.upper(), value) for column, value in where.items() if column.upper() in self.columns]

    def insert(self, *, is_subject_level: bool, first: bool) -> None:
        staging, file = self.staging, self.dataset.file
        if PERSON not in self.columns and self.dataset.name in _DESIGN:
            staging.count(self.source, f"{self.dataset.name}: about no subject, not read", self.dataset.rows.num_rows)
            return
        if PERSON not in self.columns:
            staging.problem(f'there is no column "{PERSON}"{did_you_mean(PERSON, self.columns)}', file=file)
            return
        staging.connection.register("cdisc_given", self.dataset.rows)
        try:
            kept = " AND ".join(f"{self._text(column)} = {quoted(value)}" for column, value in self.where) or "true"
            cells = ", ".join(f'{self._text(column)} AS "{column}"' for column in self.dataset.rows.column_names)
            numbered = "SELECT *, row_number() OVER () AS line FROM cdisc_given"
            staging.connection.execute(f"CREATE OR REPLACE TEMP TABLE cdisc AS SELECT {cells}, line FROM ({numbered}) WHERE {kept}")
        finally:
            staging.connection.unregister("cdisc_given")
        staging.count(self.source, f"{self.dataset.name} rows", self.dataset.rows.num_rows)
        n, line = staging.row(f'SELECT count(*), min(line) FROM cdisc WHERE "{PERSON}" IS NULL')
        if n:
            staging.problem(f"no {PERSON}; {n:,} such rows", file=file, line=line)
        if is_subject_level:
            self._subjects(first)
        elif "PARAMCD" in self.columns:
            self._analysis()
        elif (test := self._one("TESTCD")) is not None:
            self._findings(test.removesuffix("TESTCD"))
        elif (term := self._term()) is not None:
            self._occurrences(*term)
        else:
            staging.count(self.source, f"{self.dataset.name}: not read (neither subjects, parameters, tests nor terms)", self.dataset.rows.num_rows)
        staging.connection.execute("DROP TABLE cdisc")

    def _text(self, column: str) -> str:
        """SQL: a cell as text, null where it is empty; whole numbers without `.0`."""
        name = f'"{column}"'
        text = f"trim(CAST({name} AS VARCHAR))"
        if self.types[column] in ("double", "float"):
            text = f"CASE WHEN isfinite({name}) THEN CASE WHEN abs({name}) < 1e15 AND {name} = floor({name}) THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) ELSE {text} END END"
        return f"nullif({text}, '')"

    def _one(self, suffix: str) -> str | None:
        """The column of a domain with this ending (VSTESTCD)."""
        name = f"{self.dataset.name[:2]}{suffix}"
        return name if name in self.columns else next((column for column in sorted(self.columns) if column[2:] == suffix), None)

    def _term(self) -> tuple[str, str, str] | None:
        """(domain, column of the term, kind) of a dataset of events or interventions."""
        if self.dataset.name == "SV" and "VISIT" in self.columns:
            return "SV", "VISIT", "visit"
        for domain, kind in _TERMS.items():
            for suffix in ("DECOD", "TERM", "TRT"):
                if domain + suffix in self.columns and (self.dataset.name == domain or self.dataset.name.startswith("AD")):
                    return domain, domain + suffix, kind
        return None

    def _time(self, *columns: str) -> tuple[str, str]:
        """SQL: the first of these columns that is there as a time, and as the words it is written in."""
        found = [column for column in columns if column in self.columns]
        if not found:
            return "NULL::TIMESTAMP", "NULL::VARCHAR"
        times, words = [], []
        for column in found:
            text = f'"{column}"'
            if self.types[column] in ("double", "float", "int64", "int32"):
                seconds = column.endswith("DTM")
                times.append(f"CAST({_SAS_EPOCH} AS TIMESTAMP) + to_seconds(TRY_CAST({text} AS DOUBLE) * {1 if seconds else 86400})")
            else:
                full = f"CASE WHEN length({text}) = 4 THEN {text} || '-01-01' WHEN length({text}) = 7 THEN {text} || '-01' WHEN length({text}) = 13 THEN {text} || ':00' ELSE {text} END"
                times.append(f"TRY_CAST({full} AS TIMESTAMP)")
            words.append(text)
        return f"coalesce({', '.join(times)})", f"coalesce({', '.join(words)})"

    def _rows(self, columns: dict[str, str], where: str) -> str:
        given = {"source": quoted(self.source), "person": f'"{PERSON}"', "file": quoted(self.dataset.file), "line": "line", **columns}
        return f'SELECT {", ".join(f"{what} AS {column}" for column, what in given.items())} FROM cdisc WHERE "{PERSON}" IS NOT NULL AND ({where})'

    def _subjects(self, first: bool) -> None:
        """Persons (from the first subject-level dataset) and their facts; those that two datasets both give are kept once."""
        birth, death = self._time("BRTHDT", "BRTHDTC")[0], self._time("DTHDT", "DTHDTC")[0]
        if first:
            self.staging.insert("persons", self._rows({"birth": f"CAST({birth} AS DATE)", "death": f"CAST({death} AS DATE)"}, "true"))
        for column in self.dataset.rows.column_names:
            if column in _NOT_FACTS:
                continue
            cell = f'"{column}"'
            is_number = self.types[column] in ("double", "float", "int64", "int32") and not column.endswith("DT")
            of = {"kind": "'attribute'", "code": quoted(column)}
            if column.endswith(("DT", "DTC", "DTM")):
                time, words = self._time(column)
                of["text"] = f"coalesce(CAST(CAST({time} AS DATE) AS VARCHAR), {words})"
            elif is_number:
                of["value"] = f"TRY_CAST({cell} AS DOUBLE)"
            else:
                of["text"] = cell
            there = f"NOT EXISTS (SELECT 1 FROM events e WHERE e.source = {quoted(self.source)} AND e.kind = 'attribute' AND e.code = {quoted(column)} AND e.person = \"{PERSON}\")"
            self.staging.insert("events", self._rows(of, f"{cell} IS NOT NULL AND {there}"))

    def _dated(self, of: dict[str, str], time: tuple[str, str], where: str = "true") -> None:
        """Events with a date; the others are counted, and what is no date is a problem."""
        start, words = time
        n, line, example = self.staging.row(
            f"SELECT count(*), min(line), arg_min({words}, line) FROM cdisc WHERE {words} IS NOT NULL AND {start} IS NULL AND ({where})"
        )
        if n:
            others = f"; so are {n - 1:,} others" if n > 1 else ""
            self.staging.problem(f'"{example}" is not a date{others}', file=self.dataset.file, line=line)
        partial, without = self.staging.row(f"SELECT count(*) FILTER (length({words}) IN (4, 7)), count(*) FILTER ({words} IS NULL) FROM cdisc WHERE {where}")
        self.staging.insert("events", self._rows({**of, "system": quoted(self.dataset.name), "start": start}, f"{start} IS NOT NULL AND ({where})"))
        for what, count in (("partial dates read as their first day", partial), ("without a date, left out", without)):
            if count:
                self.staging.count(self.source, f"{self.dataset.name}: {what}", int(count))

    def _value(self, number: str | None, word: str | None, unit: str | None) -> dict[str, str]:
        value = f'TRY_CAST("{number}" AS DOUBLE)' if number in self.columns else "NULL::DOUBLE"
        text = f'CASE WHEN {value} IS NULL THEN "{word}" END' if word in self.columns else "NULL::VARCHAR"
        return {"value": value, "text": text, "unit": f'"{unit}"' if unit in self.columns else "NULL::VARCHAR"}

    def _analysis(self) -> None:
        """ADaM basic data structure, and times to events."""
        time, code = self._time("ADTM", "ADT"), '"PARAMCD"'
        if "CNSR" not in self.columns:
            self._dated({"kind": "'observation'", "code": code, **self._value("AVAL", "AVALC", "AVALU")}, time, f"{code} IS NOT NULL")
            return
        if "ADT" not in self.columns and "ADTM" not in self.columns:
            start, words = self._time("STARTDT")
            time = (f'{start} + to_days(CAST(TRY_CAST("AVAL" AS DOUBLE) AS INTEGER))' if "AVAL" in self.columns else start, words)
        self._dated({"kind": "'condition'", "code": code}, time, f'{code} IS NOT NULL AND TRY_CAST("CNSR" AS DOUBLE) = 0')
        self._dated({"kind": "'visit'", "code": f"{code} || ' censored'"}, time, f'{code} IS NOT NULL AND TRY_CAST("CNSR" AS DOUBLE) > 0')

    def _findings(self, domain: str) -> None:
        """SDTM findings; a test that was not done is left out."""
        done = f'"{domain}STAT" IS NULL' if f"{domain}STAT" in self.columns else "true"
        of = {"kind": "'observation'", "code": f'"{domain}TESTCD"', **self._value(f"{domain}STRESN", f"{domain}STRESC", f"{domain}STRESU")}
        self._dated(of, self._time(f"{domain}DTC"), f'"{domain}TESTCD" IS NOT NULL AND {done}')

    def _occurrences(self, domain: str, term: str, kind: str) -> None:
        """SDTM events and interventions, and ADaM occurrence datasets."""
        fallback = [f"{domain}{suffix}" for suffix in ("DECOD", "TERM", "TRT") if f"{domain}{suffix}" in self.columns]
        code = f"coalesce({', '.join(quoted_name(column) for column in fallback or [term])})"
        stop = self._time("AENDT", f"{domain}ENDTC")[0]
        self._dated({"kind": quoted(kind), "code": code, "stop": stop}, self._time("ASTDTM", "ASTDT", f"{domain}STDTC"), f"{code} IS NOT NULL")
