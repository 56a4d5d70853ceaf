"""What cannot be true of persons and their events: noted with file, line and count before anything is aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from trialsim.data.card import Purpose
from trialsim.data.staging import TABLES, Staging
from trialsim.errors import Problem


def check_persons(staging: Staging, sources: Iterable[str]) -> None:
    """Notes rows without a person, two persons with one id, and a source with events and no persons.

    Events and consents of persons that their source does not list are counted and left out later.
    """
    for table in TABLES:
        for source, file, line, n in _by_file(staging, f"SELECT * FROM {table} WHERE person IS NULL"):
            what = {"persons": "person has no id", "events": "event has no person", "consents": "consent has no person"}[table]
            staging.problem(f"{_several(n, what)} ({source})", file=file, line=line)
    rows = "SELECT *, row_number() OVER again AS nth, first(line) OVER again AS first_line, first(file) OVER again AS first_file FROM persons WHERE person IS NOT NULL"
    rows += " WINDOW again AS (PARTITION BY source, person ORDER BY file, line)"
    found = staging.connection.execute(f"""
        SELECT arg_min(file, (file, line)), arg_min(line, (file, line)), arg_min(person, (file, line)), arg_min(first_line, (file, line)),
            arg_min(first_file, (file, line)), count(*)
        FROM ({rows}) WHERE nth = 2 GROUP BY source ORDER BY source
    """).fetchall()
    for file, line, person, first_line, first_file, n in found:
        where = ([] if first_file == file else [f"in {first_file}"]) + ([] if first_line is None else [f"on line {first_line}"])
        first = f" (the first {' '.join(where)})" if where else ""
        others = f"; {n - 1:,} more ids are given twice" if n > 1 else ""
        staging.problem(f'two persons have the id "{person}"{first}{others}', file=file or "", line=line)
    listed = {source for (source,) in staging.connection.execute("SELECT DISTINCT source FROM persons").fetchall()}
    for source in sources:
        n, unknown = staging.row(
            "SELECT count(*), count(*) FILTER (person NOT IN (SELECT person FROM persons WHERE source = $1 AND person IS NOT NULL)) FROM events WHERE source = $1",
            [source],
        )
        if n and source not in listed:
            staging.problem(f'the source "{source}" has {n:,} events and no persons')
        elif n:
            staging.count(source, "events", n)
            if unknown:
                staging.count(source, "events of listed persons", n - unknown)


def check_times(staging: Staging) -> None:
    """Notes deaths before birth, and events that begin more than a day before birth (a day: births are local dates, times are UTC).

    A birth, death or event before 1800 or after 2999 is a mark for a missing date (9999-12-31), not a date, and would be
    the end of follow-up; it is noted too. De-identified data may lie in the centuries between.

    Events after death are no problem: results and bills arrive late. They are never used after the end of follow-up.
    """
    for _, file, line, n in _by_file(staging, "SELECT * FROM persons WHERE death < birth"):
        staging.problem(_several(n, "person died before birth", "persons died before birth"), file=file, line=line)
    marks = "NOT BETWEEN DATE '1800-01-01' AND DATE '2999-12-31'"
    for table, columns in (("persons", ("birth", "death")), ("events", ("start",))):
        rows = f"SELECT * FROM {table} WHERE {' OR '.join(f'CAST({column} AS DATE) {marks}' for column in columns)}"
        for _, file, line, n in _by_file(staging, rows):
            said = "has a date before 1800 or after 2999", "have dates before 1800 or after 2999"
            staging.problem(_several(n, f"{table[:-1]} {said[0]}", f"{table} {said[1]}"), file=file, line=line)
    early = """
        SELECT e.source, e.person, e.file, e.line FROM events e
        JOIN linked l ON l.source = e.source AND l.id = e.person JOIN people p ON p.person = l.person
        WHERE CAST(e.start AS DATE) < p.birth - 1
    """
    for _, file, line, n in _by_file(staging, early):
        staging.problem(_several(n, "event is before the person's birth", "events are before their persons' birth"), file=file, line=line)
    for table, columns in (("events", ("start", "stop")), ("consents", ("start", "expiry"))):
        first, last = columns
        for _, file, line, n in _by_file(staging, f"SELECT * FROM {table} WHERE {last} < {first}"):
            what = {
                "events": ("event ends before it begins", "events end before they begin"),
                "consents": ("consent ends before it begins", "consents end before they begin"),
            }
            staging.problem(_several(n, *what[table]), file=file, line=line)


def check_purposes(staging: Staging) -> None:
    """Notes consents to purposes that there are not: whom they permit or deny what cannot be told."""
    known = ", ".join(f"'{purpose}'" for purpose in get_args(Purpose))
    found = staging.connection.execute(f"""
        SELECT purpose, arg_min(file, (file, line)), arg_min(line, (file, line)), count(*) FROM consents
        WHERE purpose NOT IN ({known}) GROUP BY purpose ORDER BY purpose
    """).fetchall()
    for purpose, file, line, n in found:
        staging.problem(
            f'"{purpose}" is no purpose ({_several(n, "consent names", "consents name")} it); allowed: {", ".join(get_args(Purpose))}',
            file=file or "",
            line=line,
        )


def check_consents(staging: Staging, counted: Sequence[str]) -> None:
    """Notes sources whose records of consent do not count: whoever denies there would be used all the same."""
    found = staging.connection.execute(
        "SELECT source, count(*), count(*) FILTER (NOT coalesce(permit, false)) FROM consents GROUP BY source ORDER BY source"
    ).fetchall()
    for source, n, denials in found:
        if source not in counted:
            how = "name it in `consent: sources`, or leave them out of its files or columns"
            message = f'the source "{source}" has {n:,} records of consent, {denials:,} of them denials, but its records do not count; {how}'
            staging.problems.append(Problem(message, path="consent.sources"))


def _by_file(staging: Staging, rows: str) -> list[tuple[str, str, int | None, int]]:
    """(source, file, first line, count) of some rows, in order."""
    query = f"SELECT source, coalesce(file, ''), min(line), count(*) FROM ({rows}) GROUP BY source, file ORDER BY source, file"
    found: list[tuple[str, str, int | None, int]] = staging.connection.execute(query).fetchall()
    return found


def _several(n: int, one: str, many: str = "") -> str:
    """`1 person has no id`, `3 persons have no id (the first here)`."""
    many = many or one.replace("has no", "have no").replace("person ", "persons ", 1).replace("event ", "events ", 1).replace("consent ", "consents ", 1)
    return f"1 {one}" if n == 1 else f"{n:,} {many} (the first here)"
