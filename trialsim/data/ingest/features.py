"""From many records to one value per person: the columns of the patient table, each by one SQL query over `facts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from trialsim.data.card import Column
from trialsim.data.ingest.cohort import contradictions, date_of, of_sources
from trialsim.data.ingest.declaration import AGES, WHOLE, Feature, Ingest
from trialsim.data.ingest.facts import Listed, Tally, end_lists_of, key_of, lists_of, tally
from trialsim.data.ingest.rules import INDEX_DATE, columns_of
from trialsim.data.staging import Staging, quoted
from trialsim.errors import Problem
from trialsim.units import shortest

DAYS_PER_YEAR = 365.25
MOST_LEVELS = 20
_AGGREGATES = {
    "first": "first(value ORDER BY nth)",
    "last": "last(value ORDER BY nth)",
    "mean": "avg(value ORDER BY nth)",
    "median": "median(value)",
    "min": "min(value)",
    "max": "max(value)",
    "slope": "CASE WHEN min(years) < max(years) THEN regr_slope(value, years ORDER BY nth) END",
    "sd": "stddev_samp(value ORDER BY nth)",
}
_LABEL = "CASE WHEN abs(f.value) < 1e15 AND f.value = floor(f.value) THEN CAST(CAST(f.value AS BIGINT) AS VARCHAR) ELSE CAST(f.value AS VARCHAR) END"
"""A number as the label of a level."""
_WORDS = {"slope": "slope per year", "sd": "standard deviation", "count": "number of records", "any": "whether there is a record"}


@dataclass(frozen=True, slots=True)
class Made:
    """A column that was made: SQL for (person, cell), what it means, and where it comes from."""

    name: str
    query: str
    meaning: Column
    provenance: Mapping[str, Any] = field(default_factory=dict)


def make(staging: Staging, declared: Ingest, units: Mapping[Listed, str]) -> list[Made]:
    """Every column that the features become, in their order; problems are noted in the staging area."""
    made: list[Made] = []
    tallied = tally(staging)
    for name, feature in declared.features.items():
        made += _Making(staging, declared, name, feature, units, tallied).columns()
    return made


@dataclass(frozen=True)
class _Making:
    """One feature on its way to its columns."""

    staging: Staging
    declared: Ingest
    name: str
    feature: Feature
    units: Mapping[Listed, str]
    tallied: Mapping[str, Mapping[str, Tally]]

    def columns(self) -> list[Made]:
        if self.feature.event is not None:
            return self._event()
        if self.feature.as_ is not None or self.feature.attribute in ("birth", "death"):
            return [self._date()]
        return [self._fact() if self.feature.origin in ("attribute", "score") else self._aggregate()]

    @property
    def lists(self) -> str:
        """SQL: the names of the lists in `facts`."""
        return ", ".join(quoted(key_of(listed)) for listed in lists_of(self.feature))

    def _made(self, name: str, query: str, kind: str, said: str, *, unit: str = "", levels: Sequence[str] = (), role: str = "covariate") -> Made:
        feature = self.feature
        text = f"{feature.description.rstrip('.')}; {said}" if feature.description else said
        meaning = Column.model_validate({"type": kind, "unit": unit, "role": feature.role or role, "levels": levels, "description": text})
        return Made(name, query, meaning, self._provenance())

    def _provenance(self) -> dict[str, Any]:
        """The sources whose records a column was made of, with the codes and how many records."""
        feature = self.feature
        names = getattr(feature, feature.origin)
        names = [names] if isinstance(names, str) else list(names)
        found = {source: sum(tally.records for tally in tallies) for source, tallies in self._tallies().items()}
        for name in set(names) & {"birth", "death"} if feature.origin in ("attribute", "event") else ():
            query = f"SELECT source, count({name}) AS n FROM persons JOIN source_order USING (source) WHERE {name} IS NOT NULL{of_sources(feature.source)}"
            for source, n in self.staging.connection.execute(f"{query} GROUP BY source, place ORDER BY place").fetchall():
                found[source] = found.get(source, 0) + n
        of: dict[str, Any] = {"from": feature.origin, "of": names, "records": found}
        if feature.aggregate is not None:
            of["aggregate"] = feature.aggregate
        if feature.aggregate is not None and feature.aggregate not in WHOLE:
            of["records without a number"] = sum(tally.records - tally.numbers for tallies in self._tallies().values() for tally in tallies)
        return of

    def _tallies(self) -> dict[str, list[Tally]]:
        """Source, in the order of the sources → the tallies of its records that count."""
        found = [self.tallied.get(key_of(listed), {}) for listed in lists_of(self.feature)]
        sources = self.feature.source or tuple(self.declared.sources)
        return {source: tallies for source in self.declared.sources if source in sources and (tallies := [of[source] for of in found if source in of])}

    def _source_words(self) -> str:
        """`hba1c (http://loinc.org 4548-4) of ehr, lab`."""
        words = []
        for kind, name in lists_of(self.feature):
            codes = self.declared.codes[name] if kind == "codes" else None
            words.append(f"{name} ({codes.system} {', '.join(codes.codes)})" if codes is not None else f"{kind.replace('_', ' ')} {name}")
        if self.feature.event is not None and "death" in self.feature.event:
            words.append("death")
        if self.feature.attribute in ("birth", "death"):
            words.append(self.feature.attribute)
        sources = ", ".join(self._provenance()["records"])
        return " or ".join(words) + (f" of {sources}" if sources else "")

    def _problem(self, message: str, key: str = "") -> None:
        path = ".".join(part for part in ("features", self.name, key) if part)
        self.staging.problems.append(Problem(message, path=path))

    def _date(self) -> Made:
        """An attribute that is a date: the time from it to the index date, or the date itself."""
        feature = self.feature
        assert feature.attribute is not None
        day = date_of(self.staging, feature.attribute, feature.source)
        if feature.as_ == "age":
            unit = feature.unit or "years"
            query = f"SELECT person, (c.index_date - d.day) / {AGES[unit]!r} AS cell FROM cohort c JOIN ({day}) d USING (person)"
            return self._made(self.name, query, "continuous", f"time from {self._source_words()} to the index date", unit=unit)
        role = "post_baseline" if feature.attribute == "death" else "covariate"
        return self._made(self.name, f"SELECT person, day AS cell FROM ({day})", "date", f"date: {self._source_words()}", role=role)

    def _fact(self) -> Made:
        """A fact without a date: a number where all are, else a word."""
        (listed,) = lists_of(self.feature)
        of = f"FROM facts f JOIN cohort c USING (person) WHERE f.list = {self.lists}{of_sources(self.feature.source, 'f.source')}"
        cell = f"coalesce(f.text, {_LABEL})"
        contradictions(
            self.staging,
            listed[1],
            f"SELECT person, {cell} AS cell, f.source, file, line, nth {of} AND {cell} IS NOT NULL",
            bool(self.feature.source),
            listed[0],
        )
        n, n_text = self.staging.row(f"SELECT count(*), count(f.text) {of} AND {cell} IS NOT NULL")
        if not n:
            self._problem(f'no person has the {listed[0]} "{listed[1]}"{" in these sources" if self.feature.source else ""}')
        return self._cells(of, as_text=n_text > 0, unit=self.units.get(listed, ""), said=self._source_words())

    def _cells(self, of: str, *, as_text: bool, unit: str, said: str) -> Made:
        """A column of one cell per person, with the type that is declared or that its cells have."""
        word = f"coalesce(f.text, {_LABEL})"
        kind = self.feature.type
        if self.feature.levels and kind is None:
            kind = "binary" if len(self.feature.levels) == 2 else "categorical"
        if as_text or kind in ("categorical", "text", "date") or self.feature.levels:
            return self._words(of, word, kind, said)
        asked = "bool_and(f.value IN (0, 1)) AND count(DISTINCT f.value) = 2, bool_and(f.value = floor(f.value)) AND count(DISTINCT f.value) <= 10"
        binary, whole = self.staging.row(f"SELECT {asked} {of}")
        kind = kind or ("binary" if binary else "integer" if whole else "continuous")
        fits = {"binary": "f.value IN (0, 1)", "integer": "f.value = floor(f.value)"}.get(kind)
        if fits is not None:
            self._unfit(of, f"NOT ({fits})", word, {"binary": "0 or 1", "integer": "a whole number"}[kind])
        sql_type = {"binary": "TINYINT", "integer": "BIGINT"}.get(kind, "DOUBLE")
        return self._made(self.name, f"SELECT person, TRY_CAST(min(f.value) AS {sql_type}) AS cell {of} GROUP BY person", kind, said, unit=unit)

    def _words(self, of: str, word: str, kind: str | None, said: str) -> Made:
        if kind in ("continuous", "integer"):
            self._unfit(of, "f.text IS NOT NULL", word, "a number")
        if kind == "date":
            self._unfit(of, f"TRY_CAST({word} AS DATE) IS NULL", word, "a date (YYYY-MM-DD)")
            return self._made(self.name, f"SELECT person, TRY_CAST(min({word}) AS DATE) AS cell {of} GROUP BY person", "date", said)
        query = f"SELECT person, min({word}) AS cell {of} GROUP BY person"
        found = [
            label for (label,) in self.staging.connection.execute(f"SELECT DISTINCT {word} AS label {of} AND {word} IS NOT NULL ORDER BY label").fetchall()
        ]
        levels = self.feature.levels
        if kind is None:
            kind = "categorical" if len(found) <= MOST_LEVELS else "text"
        if levels:
            self._unfit(of, f"{word} NOT IN ({', '.join(map(quoted, levels))})", word, f"a level ({', '.join(levels)})")
        elif kind == "binary" and set(found) <= {"0", "1"}:
            return self._made(self.name, f"SELECT person, CAST(cell AS TINYINT) AS cell FROM ({query})", kind, said)
        elif kind == "binary" and len(found) != 2:
            self._problem(f"a binary column has two levels; {len(found)} are found; give `levels` or another type", "type")
            kind = "text"
        return self._made(self.name, query, kind, said, levels=() if kind == "text" else levels or _sorted(found))

    def _unfit(self, of: str, where: str, word: str, wanted: str) -> None:
        """Notes cells that do not fit the type."""
        n, file, line, example = self.staging.row(f"SELECT count(*), arg_min(file, nth), arg_min(line, nth), arg_min({word}, nth) {of} AND {where}")
        if n:
            others = f"; neither are {n - 1:,} others" if n > 1 else ""
            self.staging.problem(f'"{example}" in the column "{self.name}" is not {wanted}{others}', file=file or "", line=line)

    def _window(self) -> tuple[str, str]:
        """SQL: records up to the index date (its day counts) within the look-back; and in words. What lasts counts where it overlaps."""
        look_back = self.feature.within if self.feature.within is not None else self.declared.look_back
        facts = "facts"
        if len(lists_of(self.feature)) > 1:  # a record may have codes of several lists
            once = "QUALIFY record IS NULL OR row_number() OVER (PARTITION BY record ORDER BY list) = 1"
            facts = f"(SELECT * FROM facts WHERE list IN ({self.lists}) {once})"
        where = (
            f"FROM {facts} f JOIN cohort c USING (person) WHERE f.list IN ({self.lists}){of_sources(self.feature.source, 'f.source')} AND f.day <= c.index_date"
        )
        if look_back is None:
            return where, "up to the index date"
        return f"{where} AND c.index_date - greatest(f.day, f.stop) <= {look_back!r}", f"in the {shortest(look_back)} days up to the index date"

    def _aggregate(self) -> Made:
        """Records up to the index date as one value; null where there is none, 0 for `any` and `count` where one would be known."""
        feature, (of, window) = self.feature, self._window()
        aggregate = feature.aggregate
        assert aggregate is not None
        said = f"{_WORDS.get(aggregate, aggregate)} of {self._source_words()} {window}"
        if aggregate in WHOLE:
            counted = "1" if aggregate == "any" else "count(*)"
            seen = f"SELECT person, {counted} AS cell {of} GROUP BY person"
            query = f"SELECT c.person, CAST(coalesce(s.cell, 0) AS BIGINT) AS cell FROM cohort c LEFT JOIN ({seen}) s USING (person) WHERE c.person IN ({self._covered()})"
            return self._made(self.name, query, "binary" if aggregate == "any" else "integer", f"{said}, 0 where there is none")
        tallies = [tally for tallies in self._tallies().values() for tally in tallies]
        n_numbers, n_words = sum(tally.numbers for tally in tallies), sum(tally.words for tally in tallies)
        if not n_numbers and n_words and aggregate in ("first", "last"):
            chosen = f"SELECT DISTINCT ON (person) person, f.text, f.value, f.file, f.line, f.nth {of} AND f.text IS NOT NULL ORDER BY person, f.nth {'ASC' if aggregate == 'first' else 'DESC'}"
            return self._cells(f"FROM ({chosen}) f WHERE true", as_text=True, unit="", said=said)
        if not n_numbers:
            what = (
                f"its {n_words:,} records are words, not numbers"
                if n_words
                else "no record has a number"
                if any(tally.records for tally in tallies)
                else self._no_records()
            )
            self._problem(f"{what}; there is nothing to take the {aggregate} of")
        units = {self.units.get(listed, "") for listed in lists_of(feature)}
        if len(units) > 1:
            self._problem(f"the code lists have several units: {', '.join(sorted(unit or 'none' for unit in units))}", feature.origin)
        unit = min(units)
        years = f"(epoch(f.start) - epoch(CAST(c.index_date AS TIMESTAMP))) / {86400 * DAYS_PER_YEAR!r}"
        numbers = f"SELECT person, f.value, f.nth, {years} AS years {of} AND f.value IS NOT NULL"
        query = f"SELECT person, {_AGGREGATES[aggregate]} AS cell FROM ({numbers}) GROUP BY person"
        return self._made(self.name, query, "continuous", said, unit=f"{unit or '1'} / year" if aggregate == "slope" else unit)

    def _no_records(self) -> str:
        """Words for a list without a record; a day with too little wear has nothing but its hours of wear."""
        feature = self.feature
        measure, _, _ = (feature.daily or "").rpartition("_")
        short = f"kind = 'daily' AND code = {quoted(f'{measure}_wear_hours')}{of_sources(feature.source)}"
        n, hours = self.staging.row(f"SELECT count(*), median(value) FROM events WHERE {short}") if feature.daily else (0, None)
        if not n:
            return "there is no record of it"
        return f"none of the {n:,} days has it, with {hours:.3g} hours of wear in the median (see min_wear, and epoch_minutes, how long a sample counts)"

    def _covered(self) -> str:
        """SQL: the persons of sources that have such records (or of all, where none has), for whom no record means none."""
        named = f"({', '.join(map(quoted, self.feature.source))})" if self.feature.source else f"(SELECT source FROM facts WHERE list IN ({self.lists}))"
        none = "" if self.feature.source else f" OR NOT EXISTS (SELECT 1 FROM facts WHERE list IN ({self.lists}))"
        return f"SELECT person FROM linked WHERE source IN {named}{none}"

    def _event(self) -> list[Made]:
        """Time in days from the index date to the first event after it, or to the end of follow-up; and which it was.

        Events before the index date do not count and exclude nobody, nor do those on it unless `same_day`; persons who had
        them are counted in the provenance. Follow-up ends as `until` says, at death, or after `within`. Null where it ends
        before the index date, or where nothing says when it ends.
        """
        feature = self.feature
        assert feature.event is not None
        until, end_lists = feature.until, end_lists_of(feature)
        end = (
            f"least(c.death, DATE '{until.isoformat()}')"
            if isinstance(until, date)
            else "least(c.death, s.last_seen)"
            if end_lists
            else "coalesce(c.death, s.last_seen)"
        )
        days = f"({end}) - c.index_date"
        if feature.within is not None:
            days = f"CASE WHEN {days} > {feature.within!r} THEN {feature.within!r} ELSE {days} END"
        events = "SELECT NULL::VARCHAR AS person, NULL::DATE AS day WHERE false"
        if self.lists:
            events = f"SELECT person, day FROM facts WHERE list IN ({self.lists}){of_sources(feature.source)} AND day IS NOT NULL"
        if "death" in feature.event:
            events += " UNION ALL SELECT person, death AS day FROM people WHERE death IS NOT NULL"
        seen = "SELECT l.person, CAST(e.start AS DATE) AS day FROM events e JOIN linked l ON l.source = e.source AND l.id = e.person"
        if end_lists:
            seen = f"SELECT person, day FROM facts WHERE list IN ({', '.join(quoted(key_of(listed)) for listed in end_lists)}) UNION ALL {events}"
        after = ">=" if feature.same_day else ">"
        query = f"""
            WITH seen AS (
                SELECT person, max(day) AS last_seen FROM ({seen}) GROUP BY person
            ), followed AS (
                SELECT c.person, c.index_date, {days} AS days FROM cohort c LEFT JOIN seen s USING (person)
            ), first_event AS (
                SELECT f.person, min(e.day - f.index_date) AS event_days FROM followed f JOIN ({events}) e USING (person)
                WHERE e.day {after} f.index_date AND e.day - f.index_date <= f.days GROUP BY f.person
            )
            SELECT person, CAST(coalesce(event_days, days) AS DOUBLE) AS days, CAST(event_days IS NOT NULL AS TINYINT) AS event
            FROM followed LEFT JOIN first_event USING (person) WHERE days >= 0
        """
        ends = [str(until) if isinstance(until, date) else f"last record of {' or '.join(until)}" if end_lists else "last record"]
        ends += [] if "death" in feature.event else ["death"]
        ends += [] if feature.within is None else [f"{shortest(feature.within)} days"]
        said = f"from the index date to {self._source_words()}, or to the end of follow-up ({', '.join(ends)})"
        n_before, n_same = self.staging.row(f"""
            SELECT count(DISTINCT person) FILTER (e.day < c.index_date), count(DISTINCT person) FILTER (e.day = c.index_date)
            FROM cohort c JOIN ({events}) e USING (person)
        """)
        earlier = {"persons with an event before the index date": n_before, "persons with an event on the index date": n_same}
        days, event = columns_of(self.declared, self.name)
        made = [
            self._made(days, f"SELECT person, days AS cell FROM ({query})", "continuous", f"days {said}", unit="days", role="outcome"),
            self._made(event, f"SELECT person, event AS cell FROM ({query})", "binary", f"1: the event was seen, 0: follow-up ended; {said}", role="outcome"),
        ]
        return [replace(column, provenance={**column.provenance, **earlier}) for column in made]


def _sorted(labels: Sequence[str]) -> tuple[str, ...]:
    """Levels in order: as numbers where all are."""
    try:
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    except ValueError:
        return tuple(labels)


def index_column() -> Made:
    """Time zero of each person."""
    meaning = Column(type="date", role="post_baseline", description="time zero")
    return Made(INDEX_DATE, "SELECT person, index_date AS cell FROM cohort", meaning, {"from": "index"})
