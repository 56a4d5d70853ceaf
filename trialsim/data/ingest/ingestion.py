"""From SOURCES.yaml to one row per person and a dataset card, or to everything that is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.data.card import Card, Column
from trialsim.data.ingest.checks import check_consents, check_persons, check_purposes, check_times
from trialsim.data.ingest.cohort import choose, index_words
from trialsim.data.ingest.consents import make_consents
from trialsim.data.ingest.declaration import LAST_SEEN, SCHEMA, Ingest
from trialsim.data.ingest.facts import Listed, gather, numbers_by_unit, settle_units
from trialsim.data.ingest.features import Made, index_column, make
from trialsim.data.ingest.linking import link
from trialsim.data.ingest.rules import PERSON, read_ingest
from trialsim.data.part_file import place_in_file
from trialsim.data.shown_path import shown_path
from trialsim.data.staging import Staging
from trialsim.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Ingested:
    """What an ingest made: the table, ordered by person, its card (with the section `ingested`), and the file that declares it."""

    table: pa.Table
    card: Card
    file: Path

    @property
    def report(self) -> Mapping[str, Any]:
        """The card's section `ingested`: sources with hashes and filters, the flow of persons, the provenance of columns."""
        assert self.card.ingested is not None
        return self.card.ingested


def ingest(path: Path | str, *, threads: int | None = None) -> Ingested:
    """Reads every source, links persons, checks, and makes the declared columns; writes nothing.

    The same sources give the same table whatever `threads` (absent: all cores). Raises DataError with every problem that
    reading, linking, the checks and the columns found, as far as each can be looked for when another has failed.
    """
    path = Path(path)
    declared = read_ingest(path)
    folder = path.parent
    staging = Staging.open()
    try:
        if threads is not None:
            staging.connection.execute(f"SET threads = {int(threads)}")
        hashes = _read(staging, declared, folder)
        with _noting(staging):
            link(staging, declared, folder)
        check_persons(staging, declared.sources)
        check_purposes(staging)
        check_consents(staging, declared.consent.sources if declared.consent is not None else ())
        if not staging.problems or _has_table(staging, "people"):
            check_times(staging)
            gather(staging, declared)
            units = settle_units(staging, declared)
        _raise(staging, path)
        steps = choose(staging, declared)
        _raise(staging, path)
        if not steps[-1][1]:
            raise DataError(Problem("no person is left: " + ", ".join(f"{n:,} {step}" for step, n in steps), **_place(path, ["index"])))
        made = make(staging, declared, units)
        _raise(staging, path)
        return _assembled(staging, declared, path, made, steps=steps, hashes=hashes, units=units)
    finally:
        staging.connection.close()


def _read(staging: Staging, declared: Ingest, folder: Path) -> dict[str, dict[str, str]]:
    """Reads every source; returns the SHA-256 of their files by source and name. Where follow-up ends at the last record, every event is asked for."""
    follows = any(feature.event is not None and feature.until == LAST_SEEN for feature in declared.features.values())
    staging.asked = frozenset((codes.system, code) for codes in declared.codes.values() for code in codes.codes)
    asked = frozenset() if follows else staging.asked
    hashes: dict[str, dict[str, str]] = {}
    for name, source in declared.sources.items():
        with _noting(staging):
            hashes[name] = {Path(os.path.relpath(file, folder)).as_posix(): _sha256(file) for file in source.inputs(folder)}
            source.read(staging, name=name, folder=folder, codes=asked)
    return hashes


@contextmanager
def _noting(staging: Staging) -> Iterator[None]:
    """What is raised is noted instead, so that the other sources are read and everything is said at once."""
    try:
        yield
    except DataError as error:
        staging.problems += error.problems


def _has_table(staging: Staging, name: str) -> bool:
    return bool(staging.row("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [name])[0])


def _raise(staging: Staging, path: Path) -> None:
    """Raises what was noted, once each; what is about a key of SOURCES.yaml gets its line."""
    if staging.problems:
        problems = dict.fromkeys(staging.problems)
        raise DataError(
            problem if problem.file or not problem.path else Problem(problem.message, **_place(path, problem.path.split("."))) for problem in problems
        )


def _place(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    return {"path": ".".join(keys), "file": shown_path(path), **place_in_file(path, keys)}


def _assembled(
    staging: Staging,
    declared: Ingest,
    path: Path,
    made: Sequence[Made],
    *,
    steps: Sequence[tuple[str, int]],
    hashes: Mapping[str, Mapping[str, str]],
    units: Mapping[Listed, str],
) -> Ingested:
    """The columns side by side, ordered by person, and their card."""
    columns = ([index_column()] if declared.index is not None else []) + list(made)
    consent: dict[str, Any] = {}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "sources": {
            name: {
                "kind": getattr(source, "kind", ""),
                "files": dict(hashes[name]),
                "filters": [{"step": item.step, "n": item.n} for item in staging.filters if item.source == name],
            }
            for name, source in declared.sources.items()
        },
        "persons": [{"step": step, "n": n} for step, n in steps],
        "index": index_words(declared),
        "look_back_days": declared.look_back,
        "codes": {
            name: {
                "system": codes.system,
                "codes": list(codes.codes),
                "unit": units.get(("codes", name), ""),
                "numbers": numbers_by_unit(staging, ("codes", name)),
            }
            for name, codes in declared.codes.items()
        },
    }
    if declared.link is not None:
        report["link"] = {declared.link.file: _sha256(path.parent / declared.link.file)}
    if declared.consent is not None:
        on = declared.consent.as_of or datetime.now(UTC).date()
        extra, consent, report["consent"] = make_consents(staging, declared.consent, declared.purposes, on)
        columns = [*_with_genomic_consent(columns, extra, declared), *extra]
    table = _table(staging, columns)
    missing = {name: table.column(name).null_count for name in table.column_names}
    empty = [column.name for column in made if missing[column.name] == table.num_rows]
    if empty:
        features = {column: name for name in declared.features for column in (name, f"{name}_days", f"{name}_event")}
        withheld = {column.name for column in made if column.query not in {kept.query for kept in columns}}
        raise DataError(
            Problem(
                f'no person{" who permits genomic" if column in withheld else ""} has a value in the column "{column}"',
                **_place(path, ["features", features[column]]),
            )
            for column in empty
        )
    report["columns"] = {column.name: {**column.provenance, "missing": missing[column.name]} for column in columns}
    person = Column(type="text", role="id", description="the person" + (f", {declared.link.key} of {declared.link.file}" if declared.link else ""))
    given = {key: getattr(declared, key) for key in ("id", "title", "source", "licence", "purposes", "citation")}
    card = Card.model_validate(
        {**given, "columns": {PERSON: person, **{column.name: column.meaning for column in columns}}, "consent": consent or None, "ingested": report}
    )
    return Ingested(table, card, path)


def _with_genomic_consent(columns: Sequence[Made], consents: Sequence[Made], declared: Ingest) -> list[Made]:
    """The columns, where those made of genotypes are empty for persons who do not permit the purpose `genomic`."""
    genomes = {name for name, source in declared.sources.items() if getattr(source, "genomic_purpose", None) is not None}
    allowed = next((consent.query for consent in consents if consent.name == "consent_genomic"), None)
    if allowed is None:
        return list(columns)
    kept = "SELECT m.person, m.cell FROM ({query}) m JOIN ({allowed}) g USING (person) WHERE g.cell = 1"
    return [
        replace(column, query=kept.format(query=column.query, allowed=allowed)) if genomes & set(column.provenance.get("records", ())) else column
        for column in columns
    ]


def _table(staging: Staging, columns: Sequence[Made]) -> pa.Table:
    """One row per person of the cohort, ordered by person (by the bytes of UTF-8)."""
    import duckdb

    for place, column in enumerate(columns):
        try:
            staging.connection.execute(f"CREATE TABLE column_{place} AS {column.query}")
            is_finite = column.meaning.type != "continuous" or staging.row(f"SELECT coalesce(bool_and(isfinite(cell)), true) FROM column_{place}")[0]
        except duckdb.OutOfRangeException:
            is_finite = False
        if not is_finite:
            raise DataError(f'the values of the column "{column.name}" are too large to be aggregated')
    cells = "".join(f', column_{place}.cell AS "{column.name}"' for place, column in enumerate(columns))
    joins = "".join(f" LEFT JOIN column_{place} USING (person)" for place in range(len(columns)))
    found: pa.Table = staging.connection.sql(f"SELECT cohort.person{cells} FROM cohort{joins} ORDER BY cohort.person").to_arrow_table()
    return found.replace_schema_metadata(None).combine_chunks()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
