"""Which ids of the sources are one person: the tables `pairs` and `linked` (source, id, person), and `people` (person, birth, death)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trialsim.data.arrow_rows import LINE, read_rows
from trialsim.data.cells import MISSING
from trialsim.data.ingest.declaration import Ingest, Link
from trialsim.data.shown_path import shown_path
from trialsim.data.staging import Staging, quoted
from trialsim.errors import DataError, Problem, did_you_mean

_A_YEAR = 366
"""Sources that only know the year of birth differ by less from those that know the day."""


def link(staging: Staging, declared: Ingest, folder: Path) -> None:
    """Makes `source_order`, `pairs`, `linked` and `people`, and counts persons before and after linking.

    `pairs` are all ids, `linked` those that their source lists as persons (a consent may be about others). Without a link file an id means one person in all sources. Notes as problems: a link file that lacks a column or
    cells of the key, a person with two rows, an id that stands for two persons. An id without a person is counted and left out.
    """
    connection = staging.connection
    connection.execute("CREATE TABLE source_order (source VARCHAR, place INTEGER)")
    connection.executemany("INSERT INTO source_order VALUES (?, ?)", [(name, place) for place, name in enumerate(declared.sources)])
    pairs = "SELECT source, person AS id, person FROM persons UNION SELECT source, person, person FROM consents"
    if declared.link is not None:
        pairs = _pairs(staging, declared.link, folder, declared)
    connection.execute(f"CREATE TABLE pairs AS SELECT DISTINCT source, id, person FROM ({pairs}) WHERE id IS NOT NULL")
    connection.execute("CREATE TABLE linked AS FROM pairs WHERE (source, id) IN (SELECT DISTINCT (source, person) FROM persons)")
    for name in declared.sources:
        staging.count(name, "persons", staging.row("SELECT count(DISTINCT person) FROM persons WHERE source = ?", [name])[0])
        if declared.link is not None:
            _count_linked(staging, declared.link, name, shown_path(folder / declared.link.file))
    first = "FILTER ({0} IS NOT NULL)"
    connection.execute(f"""
        CREATE TABLE people AS
        SELECT l.person, arg_min(p.birth, o.place) {first.format("p.birth")} AS birth, arg_min(p.death, o.place) {first.format("p.death")} AS death
        FROM linked l JOIN persons p ON p.source = l.source AND p.person = l.id JOIN source_order o ON o.source = l.source
        GROUP BY l.person
    """)
    _contradictions(staging)


def _count_linked(staging: Staging, given: Link, name: str, shown: str) -> None:
    """Counts the persons of a source that are linked; none of many is a problem (another column, ids written in another way)."""
    n, linked = staging.row("SELECT count(DISTINCT person), (SELECT count(*) FROM linked WHERE source = $1) FROM persons WHERE source = $1", [name])
    staging.count(name, "persons linked", linked)
    if n and not linked:
        column = given.columns.get(name, given.key)
        staging.problem(f'none of the {n:,} ids of {name} is in the column "{column}"', file=shown, line=1)


def _pairs(staging: Staging, given: Link, folder: Path, declared: Ingest) -> str:
    """SQL for (source, id, person) as the link file says; notes what is wrong with it."""
    path = folder / given.file
    shown = shown_path(path)
    table = read_rows(path)
    columns = [column for column in table.column_names if column != LINE]
    absent = [column for column in dict.fromkeys((given.key, *given.columns.values())) if column not in columns]
    if absent:
        raise DataError(Problem(f'there is no column "{column}"{did_you_mean(column, columns)}', file=shown, line=1) for column in absent)
    staging.connection.register("link_cells", table.rename_columns([f"c{place}" for place in range(table.num_columns)]))
    at = {column: f"c{place}" for place, column in enumerate(table.column_names)}
    cells = {column: _cell(at[column]) for column in {given.key, *given.columns.values()}}
    named = {f"s{place}": cells[column] for place, column in enumerate(given.columns.values())}
    parts = ", ".join(f"{cell} AS {name}" for name, cell in {"person": cells[given.key], "line": at[LINE], **named}.items())
    staging.connection.execute(f"CREATE TABLE links AS SELECT {parts} FROM link_cells")
    staging.connection.unregister("link_cells")
    n, line = staging.row("SELECT count(*), min(line) FROM links WHERE person IS NULL")
    if n:
        staging.problem(f'no person in the column "{given.key}"' + (f"; {n:,} such rows" if n > 1 else ""), file=shown, line=line)
    _repeated(staging, "person", 'the person "{}" has {} rows (the first on line {})', shown)
    for name, source in zip(named, given.columns, strict=True):
        _repeated(staging, name, f'the id "{{}}" of {source} stands for {{}} persons (the first on line {{}})', shown)
    sources = dict.fromkeys(declared.sources, "person") | dict(zip(given.columns, named, strict=True))
    return _union(sources)


def _cell(name: str) -> str:
    text = f"trim(CAST({name} AS VARCHAR))"
    return f"CASE WHEN {text} IN ({', '.join(map(quoted, sorted(MISSING)))}) THEN NULL ELSE regexp_replace({text}, '^(\\d+)\\.0$', '\\1') END"


def _union(sources: Mapping[str, str]) -> str:
    selects = [f"SELECT DISTINCT {quoted(source)} AS source, {column} AS id, person FROM links" for source, column in sources.items()]
    return " UNION ALL ".join(f"{select} WHERE person IS NOT NULL AND {column} IS NOT NULL" for select, column in zip(selects, sources.values(), strict=True))


def _repeated(staging: Staging, column: str, words: str, shown: str) -> None:
    """Notes the cells of a column of the link file that occur twice, at the second."""
    rows = f"SELECT {column} AS cell, line, row_number() OVER again AS nth, count(*) OVER (PARTITION BY {column}) AS n, min(line) OVER again AS first_line"
    rows += f" FROM links WHERE {column} IS NOT NULL WINDOW again AS (PARTITION BY {column} ORDER BY line)"
    second = f"SELECT * FROM ({rows}) WHERE nth = 2 ORDER BY line"
    found = staging.connection.execute(f"SELECT cell, n, first_line, line, count(*) OVER () FROM ({second}) ORDER BY line LIMIT 1").fetchall()
    for cell, n, first_line, line, n_cells in found:
        others = f"; {n_cells - 1:,} more are repeated" if n_cells > 1 else ""
        staging.problem(words.format(cell, n, first_line) + others, file=shown, line=line)


def _contradictions(staging: Staging) -> None:
    """Notes persons whose sources give births (or deaths) more than a year apart: they are hardly one person."""
    for what in ("birth", "death"):
        found = staging.row(f"""
            WITH apart AS (
                SELECT l.person, min(p.{what}) AS low, max(p.{what}) AS high, arg_max(p.file, p.{what}) AS file, arg_max(p.line, p.{what}) AS line
                FROM linked l JOIN persons p ON p.source = l.source AND p.person = l.id
                GROUP BY l.person HAVING count(DISTINCT l.source) FILTER (p.{what} IS NOT NULL) > 1 AND max(p.{what}) - min(p.{what}) > {_A_YEAR}
            )
            SELECT count(*), arg_min((person, low, high, file, line), person) FROM apart
        """)
        n, first = found
        if n:
            person, low, high, file, line = first.values() if isinstance(first, dict) else first
            others = f"; the sources of {n - 1:,} more persons differ so" if n > 1 else ""
            staging.problem(f'the sources give two dates of {what} for the person "{person}": {low} and {high}{others}', file=file or "", line=line)
