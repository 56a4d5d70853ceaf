"""What was said of a patient at a time: the checks that conditions, observations and prescriptions share."""

from __future__ import annotations

from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import Reading
from trialsim.data.staging import quoted


def stage_facts(reading: Reading, file: NdjsonFile, kind: str, *, shape: str, columns: str, where_from: str = "") -> None:
    """Puts the resources of one type into the temporary table `fhir_facts`, checked, and counts those that are left out.

    `columns` are SQL over the struct `r`: `status_words` (why its status leaves it out, or null), `reference` (of the
    subject), `start_text`, `stop_text`, `codings` and whatever else the type has. The table has `person`, `start`, `stop`
    (UTC) and `left_out` (null for what is kept) beside them. `where_from` joins another table.

    Noted as problems: a subject that is missing or no reference to a patient, and a date that is none. Left out and
    counted: subjects that are no patients (a group, a device), no date, no code.
    """
    connection = reading.staging.connection
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_facts AS
        WITH said AS (SELECT line, {columns} FROM ({file.resources(kind, shape)}) {where_from}),
        placed AS (SELECT *, fhir_patient(reference) AS person, fhir_time(start_text) AS start, fhir_time(stop_text) AS stop FROM said)
        SELECT *, CASE
            WHEN status_words IS NOT NULL THEN status_words
            WHEN person IS NULL THEN 'the subject is not a patient'
            WHEN start_text IS NULL THEN 'without a date'
            WHEN coalesce(len(list_filter(codings, lambda c: c.code IS NOT NULL)), 0) = 0 THEN 'without a code' END AS left_out
        FROM placed"""
    )
    reading.tally[f"{kind}: read"] += file.types[kind]
    reading.problems(
        file, f"SELECT line, {no_patient(kind)} FROM fhir_facts WHERE status_words IS NULL AND person IS NULL AND NOT coalesce(fhir_is_other(reference), false)"
    )
    for text, time in (("start_text", "start"), ("stop_text", "stop")):
        reading.problems(
            file,
            f"SELECT line, '{kind} with a date that is none: \"' || {text} || '\"' FROM fhir_facts "
            f"WHERE status_words IS NULL AND {text} IS NOT NULL AND {time} IS NULL",
        )
    for words, n in reading.rows("SELECT left_out, count(*) FROM fhir_facts WHERE left_out IS NOT NULL GROUP BY left_out ORDER BY left_out"):
        reading.tally[f"{kind}: left out, {words}"] += n
    reading.count(
        {
            "partial dates read as their first day": "left_out IS NULL AND fhir_is_partial(start_text)",
            "times without a zone read as UTC": "left_out IS NULL AND fhir_is_zoneless(start_text)",
        },
        "fhir_facts",
        kind=kind,
    )


def no_patient(kind: str) -> str:
    """The words, as SQL, for a `reference` that is missing or no reference to a patient."""
    return f"CASE WHEN reference IS NULL THEN '{kind} without a subject' ELSE '{kind} whose subject is no reference to a patient: \"' || reference || '\"' END"


def insert_facts(reading: Reading, file: NdjsonFile, kind: str, *, event: str, table: str = "fhir_facts WHERE left_out IS NULL", values: str = "") -> None:
    """Inserts an event for every coding that is wanted (those of one resource or component share `record`), and counts them; `values` are the columns value, unit and text."""
    reading.tally[f"{kind}: kept"] += reading.staging.insert(
        "events",
        f"""SELECT {quoted(reading.source)} AS source, person, '{event}' AS kind, c.system AS system, c.code AS code, start, stop,
            {quoted(file.shown)} AS file, line, CASE WHEN len(codings) > 1 THEN nth END AS record {values}
        FROM (SELECT *, row_number() OVER () AS nth, unnest(list_distinct(codings)) AS c FROM {table}) WHERE {reading.is_wanted}""",
    )
