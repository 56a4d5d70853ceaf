"""Which purposes each person permits: one column per purpose of the card, the last day, and the jurisdiction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from trialsim.data.card import Column, Purpose
from trialsim.data.ingest.declaration import ConsentRecords
from trialsim.data.ingest.features import Made
from trialsim.data.ingest.rules import JURISDICTION, UNTIL, consent_column
from trialsim.data.staging import Staging, quoted

NO_END = date(9999, 12, 31)
"""The last day of a consent without one: a missing cell would permit nothing."""


def make_consents(staging: Staging, declared: ConsentRecords, purposes: Sequence[Purpose], on: date) -> tuple[list[Made], dict[str, Any], dict[str, Any]]:
    """The columns of consent, the card's section that names them, and the counts for `ingested`.

    A person permits a purpose where a record permits it (or every purpose), its first day is not after `on`, and no record
    denies it: a denial wins whatever its dates, and a record that does neither denies. The last day of a purpose is the latest of
    its permissions; that of a person the earliest over the purposes permitted, so that none is used too long. A person whose
    records name several jurisdictions has all of them in one cell, which equals no single one.
    """
    listed = ", ".join(map(quoted, declared.sources))
    staging.connection.execute(f"""
        CREATE TABLE decisions AS
        SELECT l.person, coalesce(c.permit, false) AS permit, c.purpose, c.jurisdiction, coalesce(c.expiry, DATE '{NO_END}') AS expiry,
            c.start IS NULL OR c.start <= DATE '{on}' AS begun
        FROM consents c JOIN pairs l ON l.source = c.source AND l.id = c.person JOIN cohort k ON k.person = l.person WHERE c.source IN ({listed})
    """)
    n_all, n_source = staging.row(f"SELECT count(*), (SELECT count(*) FROM decisions) FROM consents WHERE source IN ({listed})")
    counts: dict[str, Any] = {"as_of": on.isoformat(), "sources": list(declared.sources), "records": n_all, "records of persons included": n_source}
    purposed = " UNION ALL ".join(
        f"SELECT person, permit, expiry, begun, {quoted(purpose)} AS purpose FROM decisions WHERE purpose IS NULL OR purpose = {quoted(purpose)}"
        for purpose in purposes
    )
    staging.connection.execute(f"""
        CREATE TABLE permissions AS
        SELECT person, purpose, bool_or(permit) AND bool_or(NOT permit) AS contradicts, coalesce(bool_or(permit AND begun), false) AND bool_and(permit) AS permits,
            max(expiry) FILTER (permit AND begun) AS expiry
        FROM ({purposed}) GROUP BY person, purpose
    """)
    counts["persons with contradicting records"] = staging.row("SELECT count(DISTINCT person) FROM permissions WHERE contradicts")[0]
    counts["persons permitting"] = {
        purpose: staging.row("SELECT count(*) FROM permissions WHERE permits AND purpose = ?", [purpose])[0] for purpose in purposes
    }
    of = f"of the records of {', '.join(declared.sources)}"
    made = []
    for purpose in purposes:
        permits = f"SELECT person FROM permissions WHERE permits AND purpose = {quoted(purpose)}"
        query = f"SELECT person, CAST(person IN ({permits}) AS TINYINT) AS cell FROM cohort"
        made.append(Made(consent_column(purpose), query, _meaning("binary", f"1: permits {purpose}, 0: does not, {of}; a denial wins"), {"from": "consent"}))
    section: dict[str, Any] = {"columns": {purpose: consent_column(purpose) for purpose in purposes}}
    if staging.row(f"SELECT count(*) FROM permissions WHERE permits AND expiry < DATE '{NO_END}'")[0]:
        query = "SELECT person, min(expiry) AS cell FROM permissions WHERE permits GROUP BY person"
        made.append(Made(UNTIL, query, _meaning("date", f"last day of the consent, {NO_END} where it has none, {of}"), {"from": "consent"}))
        section["expiry"] = UNTIL
    if staging.row("SELECT count(jurisdiction) FROM decisions")[0]:
        query = "SELECT person, string_agg(DISTINCT jurisdiction, '; ' ORDER BY jurisdiction) AS cell FROM decisions GROUP BY person"
        made.append(Made(JURISDICTION, query, _meaning("text", f"jurisdiction, {of}"), {"from": "consent"}))
        section["jurisdiction"] = JURISDICTION
    return made, section, counts


def _meaning(kind: str, description: str) -> Column:
    return Column.model_validate({"type": kind, "role": "consent", "description": description})
