"""Observation: a measured or stated value, or several as components."""

from __future__ import annotations

from trialsim.data.sources.fhir.facts import insert_facts, stage_facts
from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import CODING, PERIOD, REFERENCE, Reading

_VALUE = (
    '"code":{"coding":' + CODING + "},"
    '"valueQuantity":{"value":"VARCHAR","comparator":"VARCHAR","unit":"VARCHAR","system":"VARCHAR","code":"VARCHAR"},'
    '"valueCodeableConcept":{"coding":[{"code":"VARCHAR"}],"text":"VARCHAR"},'
    '"valueString":"VARCHAR","valueBoolean":"VARCHAR","valueInteger":"VARCHAR",'
    '"valueRange":"JSON","valueRatio":"JSON","valueSampledData":"JSON","valueTime":"JSON","valueDateTime":"JSON","valuePeriod":"JSON"'
)
_SHAPE = (
    '{"status":"VARCHAR","subject":' + REFERENCE + ","
    '"effectiveDateTime":"VARCHAR","effectiveInstant":"VARCHAR","effectivePeriod":' + PERIOD + ","
    '"effectiveTiming":{"event":["VARCHAR"]},' + _VALUE + ',"component":[{' + _VALUE + "}]}"
)
_COLUMNS = """
    CASE WHEN r.status IN ('entered-in-error', 'cancelled') THEN 'entered in error or cancelled' END AS status_words,
    r.subject.reference AS reference,
    coalesce(r.effectiveDateTime, r.effectiveInstant, r.effectivePeriod.start, r.effectivePeriod."end", r.effectiveTiming.event[1]) AS start_text,
    r.effectivePeriod."end" AS stop_text, r.code.coding AS codings, r AS element, r.component AS components"""
_UCUM = "http://unitsofmeasure.org"


def _of(element: str) -> str:
    """The value of an Observation or of a component, as columns."""
    quantity, concept = f"{element}.valueQuantity", f"{element}.valueCodeableConcept"
    other = ("valueRange", "valueRatio", "valueSampledData", "valueTime", "valueDateTime", "valuePeriod")
    number = f"coalesce({quantity}.value, {element}.valueInteger, CASE {element}.valueBoolean WHEN 'true' THEN '1' WHEN 'false' THEN '0' END)"
    return f"""{number} AS number, try_cast({number} AS DOUBLE) AS value, {quantity}.comparator AS comparator,
        CASE WHEN {quantity}.system = '{_UCUM}' THEN coalesce({quantity}.code, {quantity}.unit) ELSE coalesce({quantity}.unit, {quantity}.code) END AS unit,
        coalesce({concept}.coding[1].code, {concept}.text, {element}.valueString) AS text,
        {" OR ".join(f"{element}.{kind} IS NOT NULL" for kind in other)} AS other"""


def read_observations(reading: Reading, file: NdjsonFile) -> None:
    """Observations become events of the kind `observation`, one per wanted coding of the Observation or of a component.

    `value` is valueQuantity, valueInteger or valueBoolean (1, 0); `unit` is the UCUM code, else the unit as written; `text`
    is the first code of valueCodeableConcept (its text where it has none) or valueString. A panel without a value of its own
    is an event without a value beside those of its components. Left out and counted: the status entered-in-error or cancelled,
    no value (dataAbsentReason), values that are ranges, ratios, times, periods or sampled data. A quantity with a comparator
    (<, >) counts as its number, and such are counted. A quantity that is no finite number is a problem.
    The time is the effective one (the start of a period, the first event of a timing); `issued` is not used.
    """
    stage_facts(reading, file, "Observation", shape=_SHAPE, columns=_COLUMNS)
    reading.staging.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_values AS
        SELECT line, person, start, stop, codings, coalesce(len(components), 0) AS parts, {_of("element")} FROM fhir_facts WHERE left_out IS NULL
        UNION ALL BY NAME
        SELECT line, person, start, stop, part.code.coding AS codings, 0 AS parts, {_of("part")}
        FROM (SELECT line, person, start, stop, unnest(components) AS part FROM fhir_facts WHERE left_out IS NULL AND len(components) > 0)"""
    )
    reading.problems(
        file,
        "SELECT line, 'Observation with a value that is no finite number: \"' || number || '\"' FROM fhir_values "
        "WHERE number IS NOT NULL AND NOT coalesce(isfinite(value), false)",
    )
    known = "(value IS NOT NULL OR text IS NOT NULL)"
    reading.count(
        {
            "left out, values of a kind that is not read": f"NOT {known} AND other",
            "left out, values that are absent": f"NOT {known} AND NOT other AND parts = 0",
            "values with a comparator, read as the number": "value IS NOT NULL AND comparator IS NOT NULL",
            "values, those of components too": known,
        },
        "fhir_values",
        kind="Observation",
    )
    insert_facts(reading, file, "Observation", event="observation", table=f"fhir_values WHERE {known} OR parts > 0", values=", value, unit, text")
