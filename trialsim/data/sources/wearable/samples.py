"""Samples of all formats in one temporary table: whose, of what, when, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialsim.data.shown_path import shown_path
from trialsim.data.staging import Staging, quoted

_OFFSET = r"(Z|z|[+-]\d{2}(:?\d{2})?)$"
_MACROS = (
    "wearable_is_zoned(x) AS (length(x) > 10 AND (x[-1] IN ('Z', 'z') OR x[-3] IN ('+', '-') OR x[-5] IN ('+', '-') OR x[-6] IN ('+', '-')))",
    # UTC without zone of a time with an offset; the cast through microseconds keeps away from the session's zone.
    "wearable_utc(x) AS make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ)))",
    "wearable_bucket(x) AS time_bucket(INTERVAL 30 MINUTES, x)",
)


@dataclass
class Samples:
    """The table `wearable_samples` on its way to be filled, and how many samples every step met.

    Its columns: `person`, `measure`, `stamp` (UTC) and `wall` (on the clock of the day's zone) of the sample or of the
    beginning of its interval, `stop` (UTC, null for a point in time), `value`, `unit`, `file` (its number), `line`.
    """

    staging: Staging
    source: str
    zone: str | None
    units: Mapping[str, str]
    files: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, staging: Staging, source: str, *, zone: str | None, units: Mapping[str, str]) -> Samples:
        """An empty table."""
        for macro in _MACROS:
            staging.connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")
        staging.connection.execute(
            "CREATE OR REPLACE TEMP TABLE wearable_samples (person VARCHAR, measure VARCHAR, stamp TIMESTAMP, wall TIMESTAMP, stop TIMESTAMP, "
            "value DOUBLE, unit VARCHAR, file SMALLINT, line BIGINT)"
        )
        return cls(staging, source, zone, units)

    def take(self, path: Path, given: str, *, measures: Sequence[str] = (), expected: int | None = None) -> bool:
        """Takes the rows of a query of one file: person, measure, start, stop, number, unit, line.

        `start` and `stop` are text (ISO 8601) or times. Two more columns may be there: `shift`, the microseconds from
        `start` to the sample, and `seconds`, the length of an interval without `stop`. With `measures` others are left
        out and counted. Where the query has another number of rows than `expected`, nothing is taken: False.
        """
        connection = self.staging.connection
        shown, place = shown_path(path), len(self.files)
        columns = {name: str(kind) for name, kind, *_ in connection.execute(f"DESCRIBE {given}").fetchall()}
        shift = " + to_microseconds(coalesce(CAST(shift AS BIGINT), 0))" if "shift" in columns else ""
        start, stop, zoned, stop_zoned = (of(key, columns[key]) for of in (_utc, _zoned) for key in ("start", "stop"))
        if "seconds" in columns:
            stop = f"coalesce({stop}, {start}{shift} + to_microseconds(CAST(seconds * 1e6 AS BIGINT)))"
            stop_zoned = f"coalesce({stop_zoned}, CASE WHEN seconds IS NOT NULL THEN {zoned} END)"
        stamped = f"""
            SELECT person, measure, number, unit, line, {zoned} AS zoned, {start}{shift} AS time,
                {self._own_wall(columns["start"])}{shift} AS wall, {stop} AS stop, {stop_zoned} AS stop_zoned,
                TRY_CAST(number AS DOUBLE) AS value, number IS NULL AS empty,
                CASE WHEN {start} IS NULL THEN CAST(start AS VARCHAR) END AS no_start,
                CASE WHEN stop IS NOT NULL AND {_utc("stop", columns["stop"])} IS NULL THEN CAST(stop AS VARCHAR) END AS no_stop,
                CASE WHEN NOT coalesce(isfinite(TRY_CAST(number AS DOUBLE)), false) THEN CAST(number AS VARCHAR) END AS no_number
            FROM ({given})"""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE wearable_taken AS SELECT * FROM ({stamped})")
        if expected is not None and self.staging.row("SELECT count(*) FROM wearable_taken")[0] != expected:
            return False
        self.files.append(shown)
        if measures:
            unwanted = f"measure NOT IN ({', '.join(map(quoted, measures))})"
            for measure, n in connection.execute(f"SELECT measure, count(*) FROM wearable_taken WHERE {unwanted} GROUP BY measure ORDER BY measure").fetchall():
                self.tally[f"samples of {measure}: left out, not declared"] += n
            connection.execute(f"DELETE FROM wearable_taken WHERE {unwanted}")
        self._check_rows(shown)
        self._keep(place, shown)
        connection.execute("DROP TABLE wearable_taken")
        return True

    def _own_wall(self, kind: str) -> str:
        """SQL: the time as it is written, on the clock of whoever wrote it; null where the zone decides instead."""
        if self.zone is not None or kind.startswith("TIMESTAMP"):
            return "NULL::TIMESTAMP"
        return f"CASE WHEN wearable_is_zoned(start) THEN TRY_CAST(regexp_replace(start, '{_OFFSET}', '') AS TIMESTAMP) END"

    def _check_rows(self, shown: str) -> None:
        """Notes what is wrong with single rows and counts the empty ones."""
        n, empty = self.staging.row("SELECT count(*), count(*) FILTER (empty) FROM wearable_taken")
        self.tally["samples"] += n
        self.tally["samples: left out, without a value"] += empty
        wrong = {
            "sample without a person": ("person IS NULL", "NULL"),
            "sample without a measure": ("measure IS NULL", "NULL"),
            "sample without a time": ("time IS NULL AND no_start IS NULL", "NULL"),
            "is not a time (ISO 8601)": ("no_start IS NOT NULL", "no_start"),
            "is not a time at which an interval ends": ("no_stop IS NOT NULL", "no_stop"),
            "is too large for a sample": ("abs(value) > 1e100 AND isfinite(value)", "value"),
            "is not a finite number": ("NOT empty AND no_number IS NOT NULL", "no_number"),
            "interval that ends before it begins": ("zoned = stop_zoned AND stop < time", "NULL"),
            "time with an offset and its end without one, or the other way round": ("stop IS NOT NULL AND zoned <> stop_zoned", "NULL"),
        }
        if self.zone is None:
            wrong["time without an offset, where no `zone` is declared"] = ("time IS NOT NULL AND NOT zoned", "NULL")
            wrong["time of a Parquet column, which keeps no offset; declare `zone`"] = ("time IS NOT NULL AND zoned AND wall IS NULL", "NULL")
        found = self.staging.row(
            "SELECT " + ", ".join(f"count(*) FILTER ({condition}), arg_min((line, {example}), line) FILTER ({condition})" for condition, example in wrong.values())
            + " FROM wearable_taken"
        )  # fmt: skip
        for words, n, first in zip(wrong, found[::2], found[1::2], strict=True):
            if n:
                line, example = first.values() if isinstance(first, dict) else first
                others = f"; {n:,} such samples (the first here)" if n > 1 else ""
                self.staging.problem(f"{words}{others}" if example is None else f'"{example}" {words}{others}', file=shown, line=line)

    def _keep(self, place: int, shown: str) -> None:
        """Moves what is whole into `wearable_samples`, in UTC and on the clock of its day."""
        connection = self.staging.connection
        whole = "person IS NOT NULL AND measure IS NOT NULL AND time IS NOT NULL AND abs(value) <= 1e100 AND no_stop IS NULL AND t.zoned = coalesce(stop_zoned, t.zoned)"
        if self.zone is None:
            connection.execute(
                f"INSERT INTO wearable_samples SELECT person, measure, time, wall, stop, value, unit, {place}, line FROM wearable_taken t "
                f"WHERE {whole} AND wall IS NOT NULL AND coalesce(stop >= time, true)"
            )
            return
        # The zone's offset of every half hour that occurs, so that the calendar is asked some thousand times, not once a sample.
        zone = quoted(self.zone)
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE wearable_offsets AS
            SELECT bucket, zoned, CASE WHEN zoned THEN (bucket AT TIME ZONE 'UTC') AT TIME ZONE {zone} - bucket
                ELSE bucket - make_timestamp(epoch_us(bucket AT TIME ZONE {zone})) END AS ahead
            FROM (SELECT DISTINCT wearable_bucket(time) AS bucket, zoned FROM wearable_taken WHERE time IS NOT NULL
                UNION SELECT wearable_bucket(stop), zoned FROM wearable_taken WHERE stop IS NOT NULL)"""
        )
        connection.execute(
            f"""INSERT INTO wearable_samples SELECT * FROM (
                SELECT person, measure, CASE WHEN t.zoned THEN time ELSE time - o.ahead END AS stamp, CASE WHEN t.zoned THEN time + o.ahead ELSE time END AS wall,
                    CASE WHEN t.zoned THEN stop ELSE stop - e.ahead END AS stop, value, unit, {place}, line
                FROM wearable_taken t JOIN wearable_offsets o ON o.bucket = wearable_bucket(time) AND o.zoned = t.zoned
                LEFT JOIN wearable_offsets e ON e.bucket = wearable_bucket(stop) AND e.zoned = t.zoned
                WHERE {whole}) WHERE coalesce(stop >= stamp, true)"""
        )
        skipped = f"NOT o.zoned AND ((bucket - ahead) AT TIME ZONE 'UTC') AT TIME ZONE {zone} <> bucket"
        n, line, time = self.staging.row(
            f"SELECT count(*), min(line), arg_min(time, line) FROM wearable_taken t JOIN (FROM wearable_offsets o WHERE {skipped}) o "
            "ON o.bucket = wearable_bucket(time) WHERE NOT t.zoned"
        )
        if n:
            words = f"{time.isoformat()} is no time in {self.zone}, whose clocks skip it: these are not its local times; {n:,} such samples"
            self.staging.problem(words, file=shown, line=line)
        self._tell_repeated_hours_apart(place)
        connection.execute("DROP TABLE wearable_offsets")

    def _tell_repeated_hours_apart(self, place: int) -> None:
        """Where clocks go back, local times without offset occur twice: the first sample in the file is the earlier one."""
        connection = self.staging.connection
        zone = quoted(self.zone)
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE wearable_repeated AS
            SELECT bucket, ahead AS given, max(other) AS first_ahead, min(other) AS second_ahead FROM (
                SELECT bucket, ahead, ahead + to_minutes(step) AS other FROM wearable_offsets, unnest([-60, -30, 0, 30, 60]) s(step) WHERE NOT zoned)
            WHERE ((bucket - other) AT TIME ZONE 'UTC') AT TIME ZONE {zone} = bucket GROUP BY bucket, ahead HAVING count(*) > 1"""
        )
        if self.staging.row("SELECT count(*) FROM wearable_repeated")[0]:
            connection.execute(
                f"""UPDATE wearable_samples SET stamp = wall - ahead, stop = stop + ((wall - ahead) - stamp) FROM (
                    SELECT s.rowid AS row, CASE WHEN row_number() OVER (PARTITION BY s.person, s.measure, s.wall ORDER BY s.line) = 1
                        THEN r.first_ahead ELSE r.second_ahead END AS ahead
                    FROM wearable_samples s JOIN wearable_repeated r ON r.bucket = wearable_bucket(s.wall) WHERE s.file = {place}
                        AND s.line IN (SELECT line FROM wearable_taken WHERE NOT zoned)) again
                WHERE again.row = wearable_samples.rowid"""
            )
        connection.execute("DROP TABLE wearable_repeated")

    def check(self) -> None:
        """Makes `wearable_people` (who, person) and `wearable_unique` (`who` for `person`; no exact duplicates; in order).

        Notes several values of one measure at one time, and several units of one measure.
        """
        connection = self.staging.connection
        self._check_units()
        connection.execute(
            """CREATE OR REPLACE TEMP TABLE wearable_people AS
            SELECT CAST(row_number() OVER (ORDER BY person) AS INTEGER) AS who, person FROM (SELECT DISTINCT person FROM wearable_samples)"""
        )
        n, distinct = self.staging.row("SELECT count(*), count(DISTINCT hash(person, measure, stamp)) FROM wearable_samples")
        columns = "measure, who, stamp, wall, stop, value, unit FROM wearable_samples JOIN wearable_people USING (person)"
        if n == distinct:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE wearable_unique AS SELECT {columns} ORDER BY measure, who, stamp")
            return
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE wearable_unique AS
            SELECT measure, who, stamp, min(wall) AS wall, max(stop) AS stop, min(value) AS value, min(unit) AS unit, count(*) AS n,
                max(value) > min(value) OR coalesce(max(stop) > min(stop), false) OR count(stop) NOT IN (0, count(*)) AS differ
            FROM (SELECT {columns}) GROUP BY measure, who, stamp ORDER BY measure, who, stamp"""
        )
        self._note_contradictions()
        self.tally["samples: exact duplicates dropped"] += self.staging.row("SELECT coalesce(sum(n - 1), 0) FROM wearable_unique WHERE NOT differ")[0]

    def _note_contradictions(self) -> None:
        """Several values (or lengths of intervals) of a measure at one time: the first of them, and how many there are."""
        n, first = self.staging.row("SELECT count(*), arg_min((who, measure, stamp), (who, measure, stamp)) FROM wearable_unique WHERE differ")
        if not n:
            return
        who, measure, stamp = first.values() if isinstance(first, dict) else first
        (person,) = self.staging.row("SELECT person FROM wearable_people WHERE who = ?", [who])
        places = self.staging.connection.execute(
            "SELECT file, line, value, stop FROM wearable_samples WHERE person = ? AND measure = ? AND stamp = ? ORDER BY file, line", [person, measure, stamp]
        ).fetchall()
        (_, line, value, _), (file, here, other, _) = places[0], next(row for row in places[1:] if row[2:] != places[0][2:])
        others = f"; {n:,} such times in all" if n > 1 else ""
        differ = f"{value:g} on line {line} and {other:g} here" if value != other else f"{value:g} over intervals of different length, on line {line} and here"
        self.staging.problem(f'"{person}" has several values of {measure} at {stamp.isoformat()} UTC: {differ}{others}', file=self.files[file], line=here)

    def _check_units(self) -> None:
        found = self.staging.connection.execute(
            """SELECT measure, unit, sum(n), arg_min(file, (file, line)), arg_min(line, (file, line)) FROM (
                SELECT measure, unit, file, count(*) AS n, min(line) AS line FROM wearable_samples GROUP BY ALL) GROUP BY measure, unit ORDER BY measure, unit"""
        ).fetchall()
        by_measure: dict[str, list[tuple[Any, ...]]] = {}
        for measure, *of in found:
            by_measure.setdefault(measure, []).append(tuple(of))
        for measure, units in by_measure.items():
            declared = self.units.get(measure)
            wrong = [of for of in units if of[0] != declared and of[0] is not None] if declared else units if len(units) > 1 else []
            if wrong:
                _, _, file, line = min(wrong, key=lambda of: (of[1], of[0] or ""))
                counts = ", ".join(f"{n:,} {f'in {unit}' if unit else 'without a unit'}" for unit, n, *_ in sorted(units, key=lambda of: -of[1]))
                what = f"{measure} is in {declared}, but its samples are {counts}" if declared else f"the samples of {measure} have several units: {counts}"
                self.staging.problem(f"{what} (the first {f'in {self._unit_at(wrong)}'} is here)", file=self.files[file], line=line)

    @staticmethod
    def _unit_at(wrong: Sequence[tuple[Any, ...]]) -> str:
        unit, *_ = min(wrong, key=lambda of: (of[1], of[0] or ""))
        return unit or "none"

    def close(self) -> None:
        """Tells the staging area how many samples every step met, and drops the temporary tables."""
        for step, n in self.tally.items():
            if n or step == "samples":
                self.staging.count(self.source, step, n)
        for kind in ("table", "view"):
            of = f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE temporary AND starts_with({kind}_name, 'wearable_')"
            for (name,) in self.staging.connection.execute(of).fetchall():
                self.staging.connection.execute(f"DROP {kind} {name}")


def _utc(column: str, kind: str) -> str:
    """SQL: a time as UTC, or as it is written where it has no offset; null where it is none."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({column}))"
    if kind.startswith("TIMESTAMP"):
        return f"CAST({column} AS TIMESTAMP)"
    return f"CASE WHEN wearable_is_zoned({column}) THEN wearable_utc({column}) ELSE TRY_CAST({column} AS TIMESTAMP) END"


def _zoned(column: str, kind: str) -> str:
    """SQL: whether a time has an offset; null where it is absent."""
    if kind.startswith("TIMESTAMP"):
        return f"CASE WHEN {column} IS NOT NULL THEN {'true' if kind == 'TIMESTAMP WITH TIME ZONE' else 'false'} END"
    return f"wearable_is_zoned({column})"
