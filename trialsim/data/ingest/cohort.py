"""Who is in: linked persons with an index date on which they were born and alive: the table `cohort`."""

from __future__ import annotations

from trialsim.data.ingest.declaration import Ingest
from trialsim.data.ingest.facts import key_of
from trialsim.data.staging import Staging, quoted, utc

_OF_PEOPLE = ("birth", "death")


def choose(staging: Staging, declared: Ingest) -> list[tuple[str, int]]:
    """Makes `cohort` (person, index_date, birth, death) and returns how many persons each step left.

    A person without the index event, born after the index date or dead before it is left out and counted; the day of
    death counts as alive.
    """
    staging.connection.execute(f"CREATE TABLE indexed AS {_index(staging, declared)}")
    staging.connection.execute("CREATE TABLE cohort AS SELECT p.person, i.index_date, p.birth, p.death FROM people p JOIN indexed i USING (person)")
    steps = [("persons", staging.row("SELECT count(*) FROM people")[0])]
    if declared.index is None:
        return steps
    for step, out in (
        ("with an index date", "index_date IS NULL"),
        ("born by the index date", "birth > index_date"),
        ("alive at the index date", "death < index_date"),
    ):
        staging.connection.execute(f"DELETE FROM cohort WHERE {out}")
        steps.append((step, staging.row("SELECT count(*) FROM cohort")[0]))
    return steps


def index_words(declared: Ingest) -> str:
    """Time zero in words."""
    index = declared.index
    if index is None:
        return "none"
    source = f" ({', '.join(index.source)})" if index.source else ""
    if index.codes is not None:
        return f"{index.occurrence} event of {', '.join(index.codes)}{source}"
    return f"the attribute {index.attribute}{source}" if index.attribute is not None else f"{index.date}"


def date_of(staging: Staging, name: str, source: tuple[str, ...] | None) -> str:
    """SQL for (person, day) of an attribute that is a date; notes cells that are none and persons with several."""
    if name in _OF_PEOPLE:
        if source is not None:
            of = f"JOIN source_order o ON o.source = p.source JOIN linked l ON l.source = p.source AND l.id = p.person WHERE p.source IN ({_listed(source)})"
            return f"SELECT l.person, arg_min(p.{name}, o.place) FILTER (p.{name} IS NOT NULL) AS day FROM persons p {of} GROUP BY l.person"
        return f"SELECT person, {name} AS day FROM people"
    day = f"coalesce(CAST({utc('text')} AS DATE), day)"
    of = f"FROM facts WHERE list = {quoted(key_of(('attribute', name)))}{of_sources(source)}"
    n, file, line, text = staging.row(
        f"SELECT count(*), arg_min(file, nth), arg_min(line, nth), arg_min(coalesce(text, CAST(value AS VARCHAR)), nth) {of} AND {day} IS NULL"
    )
    if n:
        others = f"; neither are {n - 1:,} others" if n > 1 else ""
        staging.problem(f'"{text}" of the attribute "{name}" is not a date (YYYY-MM-DD){others}', file=file or "", line=line)
    contradictions(staging, name, f"SELECT person, CAST({day} AS VARCHAR) AS cell, source, file, line, nth {of}", source is not None)
    return f"SELECT person, min({day}) AS day {of} GROUP BY person"


def contradictions(staging: Staging, name: str, cells: str, of_one: bool, kind: str = "attribute") -> None:
    """Notes persons for whom (person, cell, source, file, line, nth) has several cells."""
    found = staging.connection.execute(f"""
        WITH several AS (
            SELECT person, min(cell) AS low, max(cell) AS high, count(DISTINCT source) AS n_sources, arg_max(file, nth) AS file, arg_max(line, nth) AS line
            FROM ({cells}) GROUP BY person HAVING count(DISTINCT cell) > 1
        )
        SELECT count(*) OVER (), person, low, high, max(n_sources) OVER (), file, line FROM several ORDER BY person LIMIT 1
    """).fetchall()
    for n, person, low, high, n_sources, file, line in found:
        others = f"; so have {n - 1:,} others" if n > 1 else ""
        how = "; say which source counts with `source`" if n_sources > 1 and not of_one else ""
        staging.problem(f'the person "{person}" has several values of the {kind} "{name}", {low} and {high}{others}{how}', file=file or "", line=line)


def of_sources(source: tuple[str, ...] | None, column: str = "source") -> str:
    """SQL: and only from these sources."""
    return "" if source is None else f" AND {column} IN ({_listed(source)})"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, words))


def _index(staging: Staging, declared: Ingest) -> str:
    """SQL for (person, index_date)."""
    index = declared.index
    if index is None:
        return "SELECT person, NULL::DATE AS index_date FROM people"
    if index.date is not None:
        return f"SELECT person, DATE '{index.date.isoformat()}' AS index_date FROM people"
    if index.codes is not None:
        lists = _listed(tuple(key_of(("codes", name)) for name in index.codes))
        which = "min" if index.occurrence == "first" else "max"
        dated = f"SELECT person, {which}(day) AS day FROM facts WHERE list IN ({lists}) AND day IS NOT NULL{of_sources(index.source)} GROUP BY person"
    else:
        assert index.attribute is not None
        dated = date_of(staging, index.attribute, index.source)
    return f"SELECT p.person, d.day AS index_date FROM people p LEFT JOIN ({dated}) d USING (person)"
