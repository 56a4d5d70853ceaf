"""The records that any column asks for, of linked persons, in one unit per code list: the table `facts`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from trialsim.data.ingest.declaration import LAST_SEEN, ORIGINS, WHOLE, CodeList, Conversion, Feature, Ingest
from trialsim.data.staging import Staging
from trialsim.errors import Problem

Listed = tuple[str, str]
"""What kind of list (codes, attribute, score, daily, questionnaire), and its name."""


def lists_of(feature: Feature) -> tuple[Listed, ...]:
    """The lists whose records a feature uses."""
    names = getattr(feature, feature.origin)
    kind = "codes" if feature.origin in ("codes", "event") else feature.origin
    return tuple(
        (kind, name) for name in ((names,) if isinstance(names, str) else names) if (kind, name) not in _OF_PEOPLE and not (feature.event and name == "death")
    )


def end_lists_of(feature: Feature) -> tuple[Listed, ...]:
    """The lists at whose last record the follow-up of an event ends; none where it ends at the last record of all or at a date."""
    return () if isinstance(feature.until, date) or feature.until == LAST_SEEN else tuple(("codes", name) for name in feature.until)


_MOST_UNITS = 6
"""How many units a message names."""
_OF_PEOPLE = (("attribute", "birth"), ("attribute", "death"))


def key_of(listed: Listed) -> str:
    """The name of a list in the table `facts`."""
    return f"{listed[0]}:{listed[1]}"


def gather(staging: Staging, declared: Ingest) -> None:
    """Makes `facts`: list, person, source, day, start, stop, value, unit, text, file, line, record and `nth`, a total order by time.

    A record with several codes of one list is there once. Values that are not finite are none. Records at one time are in the order of sources, files and lines.
    """
    wanted: dict[Listed, None] = {listed: None for feature in declared.features.values() for listed in (*lists_of(feature), *end_lists_of(feature))}
    if declared.index is not None:
        wanted |= {("codes", name): None for name in declared.index.codes or ()}
        if declared.index.attribute is not None and ("attribute", declared.index.attribute) not in _OF_PEOPLE:
            wanted[("attribute", declared.index.attribute)] = None
    connection = staging.connection
    connection.execute("CREATE TABLE wanted (list VARCHAR, kind VARCHAR, system VARCHAR, code VARCHAR)")
    for listed in wanted:
        kind, name = listed
        codes = declared.codes[name] if kind == "codes" else None
        rows = [(key_of(listed), kind, None, name)] if codes is None else [(key_of(listed), None, codes.system, code) for code in dict.fromkeys(codes.codes)]
        connection.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?)", rows)
    undated = ", ".join(f"'{kind}'" for kind in ORIGINS)
    columns = "w.list, l.person, o.place, e.source, CAST(e.start AS DATE) AS day, e.start, CAST(e.stop AS DATE) AS stop, CASE WHEN isfinite(e.value) THEN e.value END AS value, e.unit, e.text, e.file, e.line"
    columns += ", CASE WHEN e.record IS NOT NULL THEN concat_ws(chr(31), e.source, e.file, e.kind, e.record) END AS record"
    joined = "JOIN linked l ON l.source = e.source AND l.id = e.person JOIN source_order o ON o.source = e.source"
    several = staging.row("SELECT count(record) FROM events")[0]
    once = " QUALIFY e.record IS NULL OR row_number() OVER (PARTITION BY w.list, e.source, e.file, e.kind, e.record ORDER BY e.code) = 1" if several else ""
    connection.execute(f"""
        CREATE TABLE facts AS
        SELECT *, row_number() OVER (ORDER BY start NULLS FIRST, place, file, line, value, text) AS nth FROM (
            SELECT {columns} FROM events e JOIN wanted w ON w.kind IS NULL AND w.system = e.system AND w.code = e.code AND e.kind NOT IN ({undated}) {joined}{once}
            UNION ALL
            SELECT {columns} FROM events e JOIN wanted w ON w.kind = e.kind AND w.code = e.code {joined}
        ) ORDER BY list, nth
    """)


def numbers_by_unit(staging: Staging, listed: Listed) -> dict[str, int]:
    """Unit as the sources write it → how many numbers, the most frequent first."""
    query = "SELECT coalesce(trim(unit), '') AS u, count(*) AS n FROM facts WHERE list = ? AND value IS NOT NULL GROUP BY u ORDER BY n DESC, u"
    return dict(staging.connection.execute(query, [key_of(listed)]).fetchall())


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records of a list a source has; how many of them hold a number, and how many a word and no number."""

    records: int
    numbers: int
    words: int


def tally(staging: Staging) -> dict[str, dict[str, Tally]]:
    """List → source, in the order of the sources → its records."""
    query = "SELECT list, source, count(*), count(value), count(text) FILTER (value IS NULL) FROM facts GROUP BY list, source, place ORDER BY list, place"
    found: dict[str, dict[str, Tally]] = {}
    for name, source, *counts in staging.connection.execute(query).fetchall():
        found.setdefault(name, {})[source] = Tally(*counts)
    return found


def settle_units(staging: Staging, declared: Ingest) -> dict[Listed, str]:
    """The unit of each list whose numbers are used, after converting what has a declared conversion.

    Notes as a problem a list whose numbers have several units, or one that is not the declared one and has no
    conversion. Numbers that all have no unit are in the declared one; where only some have none, `convert: {"": …}` must say what they are.
    """
    units: dict[Listed, str] = {}
    for name, feature in declared.features.items():
        if feature.origin == "event" or feature.as_ is not None or feature.aggregate in WHOLE:
            continue
        for listed in lists_of(feature):
            if listed not in units:
                codes = declared.codes[listed[1]] if listed[0] == "codes" else None
                units[listed] = _settle(staging, listed, codes.unit if codes else feature.unit or None, codes)
            elif feature.unit not in ("", units[listed]):
                message = f"{feature.unit} is not {units[listed] or 'no unit'}, as another feature has it"
                staging.problems.append(Problem(message, path=f"features.{name}.unit"))
    return units


def _settle(staging: Staging, listed: Listed, wanted: str | None, codes: CodeList | None) -> str:
    counts = numbers_by_unit(staging, listed)
    conversions = codes.convert if codes is not None else {}
    if wanted is None:
        if len(counts) > 1:
            stated = [unit for unit in counts if unit]
            odd = min((unit for unit in counts), key=lambda unit: (counts[unit], unit))
            where = f"declare `unit` and `convert` in codes.{listed[1]}" if codes is not None else f"make them one before the ingest ({len(stated)} units)"
            message = f"the numbers of {_words(listed)} have several units: {_told(counts)}; {where} (the first {_in(odd)} is here)"
            _note(staging, message, listed, (odd,))
        return next(iter(counts), "")
    foreign = [unit for unit in counts if unit != wanted and unit not in conversions]
    if foreign == [""] and set(counts) == {""}:
        return wanted
    if foreign:
        how = f"no conversion is declared in codes.{listed[1]}.convert" if codes is not None else "it is not converted"
        _note(staging, f"{_words(listed)} is in {wanted}, but its numbers are {_told(counts)}; {how} (the first is here)", listed, foreign)
        return wanted
    _convert(staging, listed, {unit: conversions[unit] for unit in counts if unit in conversions})
    return wanted


def _note(staging: Staging, message: str, listed: Listed, units: Iterable[str]) -> None:
    asked = ", ".join("?" for _ in units)
    place = "SELECT file, line FROM facts WHERE list = ? AND value IS NOT NULL"
    found = staging.connection.execute(
        f"{place} AND coalesce(trim(unit), '') IN ({asked}) ORDER BY place, file, line LIMIT 1", [key_of(listed), *units]
    ).fetchall()
    for file, line in found:
        staging.problem(message, file=file or "", line=line)


def _convert(staging: Staging, listed: Listed, conversions: Mapping[str, Conversion]) -> None:
    for unit, conversion in conversions.items():
        staging.connection.execute(
            "UPDATE facts SET value = value * ? + ? WHERE list = ? AND coalesce(trim(unit), '') = ?",
            [conversion.factor, conversion.offset, key_of(listed), unit],
        )


def _words(listed: Listed) -> str:
    return {"codes": "the code list", "daily": "the daily feature"}.get(listed[0], f"the {listed[0]}") + f' "{listed[1]}"'


def _in(unit: str) -> str:
    return f"in {unit}" if unit else "without a unit"


def _told(counts: Mapping[str, int]) -> str:
    told = [f"{n:,} {_in(unit)}" for unit, n in counts.items()]
    rest = sum([*counts.values()][_MOST_UNITS:])
    return ", ".join([*told[:_MOST_UNITS], *([f"{rest:,} in {len(told) - _MOST_UNITS:,} other units"] if rest else [])])
