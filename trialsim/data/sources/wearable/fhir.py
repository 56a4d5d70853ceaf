"""Samples in FHIR Observations: single values, components, and series of samples (SampledData)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trialsim.data.sources.fhir.facts import no_patient
from trialsim.data.sources.fhir.ndjson import NdjsonFile, files_below, open_file
from trialsim.data.sources.fhir.reading import CODING, PERIOD, REFERENCE, Reading
from trialsim.data.sources.wearable.measures import KNOWN, Measure
from trialsim.data.sources.wearable.samples import Samples

_VALUE = (
    '"code":{"coding":' + CODING + '},"valueQuantity":{"value":"VARCHAR","unit":"VARCHAR","system":"VARCHAR","code":"VARCHAR"},"valueInteger":"VARCHAR",'
    '"valueSampledData":{"origin":{"value":"VARCHAR","unit":"VARCHAR","system":"VARCHAR","code":"VARCHAR"},"period":"DOUBLE","factor":"DOUBLE",'
    '"dimensions":"BIGINT","data":"VARCHAR"}'
)
_SHAPE = (
    '{"status":"VARCHAR","subject":' + REFERENCE + ',"effectiveDateTime":"VARCHAR","effectiveInstant":"VARCHAR","effectivePeriod":' + PERIOD + ","
    + _VALUE + ',"component":[{' + _VALUE + "}]}"
)  # fmt: skip
_UCUM = "http://unitsofmeasure.org"


def read_fhir(samples: Samples, paths: Sequence[Path], *, measures: Mapping[str, Measure]) -> None:
    """Takes the Observations (R4, NDJSON, `.gz` or not) whose codes, or those of a component, are a measure's.

    Without `measures` those with known LOINC codes: steps, heart_rate, respiratory_rate, oxygen_saturation, body_weight and
    so on. The value is valueQuantity, valueInteger or valueSampledData (origin + factor × datum, every `period` ms from the
    effective time on; E, U and L are no data and counted). Left out and counted: status entered-in-error or cancelled,
    subjects that are no patients, no value. An effectivePeriod with an end is an interval.

    **Source:** HL7 FHIR R4 (4.0.1), Observation and SampledData, https://hl7.org/fhir/R4/datatypes.html#SampledData.
    Not handled: SampledData of several dimensions (a problem), effectiveTiming, dates without a time.
    """
    listed = measures or {name: Measure() for name in KNOWN if name not in ("step_count", "total_sleep_time")}
    pairs = [(*code.rpartition("|")[::2], name) for name, measure in listed.items() for code in measure.known_as(name).codes]
    reading = Reading(samples.staging, samples.source)
    reading.prepare()
    connection = samples.staging.connection
    connection.execute("CREATE OR REPLACE TEMP TABLE wearable_codes (system VARCHAR, code VARCHAR, measure VARCHAR)")
    connection.executemany("INSERT INTO wearable_codes VALUES (?, ?, ?)", pairs)
    files = [open_file(samples.staging, path) for path in files_below(list(paths))]
    for file in files:
        if "Observation" in file.types:
            _read(samples, reading, file)
        for kind, n in sorted(file.types.items()):
            if kind != "Observation":
                reading.tally[f"{kind}: not read by this source"] += n
    reading.hand_in()


def _read(samples: Samples, reading: Reading, file: NdjsonFile) -> None:
    connection = samples.staging.connection
    unit = "CASE WHEN {0}.system = '" + _UCUM + "' THEN coalesce({0}.code, {0}.unit) ELSE coalesce({0}.unit, {0}.code) END"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fhir_series AS
        WITH said AS (
            SELECT line, r.status AS status, r.subject.reference AS reference, coalesce(r.effectiveDateTime, r.effectiveInstant, r.effectivePeriod.start) AS start,
                CASE WHEN r.effectiveDateTime IS NULL AND r.effectiveInstant IS NULL THEN r.effectivePeriod."end" END AS stop,
                unnest(list_append(coalesce(list_transform(r.component, lambda c: c.code.coding), []), r.code.coding)) AS codings,
                unnest(list_append(coalesce(list_transform(r.component, lambda c: c.valueQuantity), []), r.valueQuantity)) AS quantity,
                unnest(list_append(coalesce(list_transform(r.component, lambda c: c.valueInteger), []), r.valueInteger)) AS whole,
                unnest(list_append(coalesce(list_transform(r.component, lambda c: c.valueSampledData), []), r.valueSampledData)) AS sampled
            FROM ({file.resources("Observation", _SHAPE)})
        ), coded AS (SELECT *, unnest(codings) AS c FROM said)
        SELECT DISTINCT ON (line, measure, quantity, whole, sampled) line, coalesce(status, '') IN ('entered-in-error', 'cancelled') AS void, reference,
            fhir_patient(reference) AS person, start, stop, k.measure, coalesce(quantity.value, whole) AS number, {unit.format("quantity")} AS unit, sampled
        FROM coded JOIN wearable_codes k ON k.system = coded.c.system AND k.code = coded.c.code"""
    )
    reading.tally["Observation: read"] += file.types["Observation"]
    kept = "NOT void AND person IS NOT NULL"
    value = "(number IS NOT NULL OR sampled IS NOT NULL)"
    reading.count(
        {
            "values of measures": "true",
            "left out, entered in error or cancelled": "void",
            "left out, the subject is not a patient": "NOT void AND fhir_is_other(reference)",
            "left out, without a value": f"{kept} AND NOT {value}",
        },
        "fhir_series",
        kind="Observation",
    )
    reading.problems(
        file, f"SELECT line, {no_patient('Observation')} FROM fhir_series WHERE NOT void AND person IS NULL AND NOT coalesce(fhir_is_other(reference), false)"
    )
    several = "SampledData of several dimensions, or without a period, is not read"
    reading.problems(
        file,
        f"SELECT line, '{several}' FROM fhir_series WHERE {kept} AND sampled IS NOT NULL AND (coalesce(sampled.dimensions, 1) <> 1 OR sampled.period IS NULL)",
    )
    datum = "origin + coalesce(sampled.factor, 1) * TRY_CAST(datum AS DOUBLE)"
    samples.take(
        file.path,
        f"""SELECT person, measure, start, stop, number, unit, line, NULL::DOUBLE AS shift FROM fhir_series WHERE {kept} AND number IS NOT NULL
        UNION ALL
        SELECT person, measure, start, NULL, CASE WHEN datum IN ('E', 'U', 'L') THEN NULL ELSE coalesce(CAST({datum} AS VARCHAR), datum) END, unit, line, period * 1000 * (nth - 1)
        FROM (SELECT *, unnest(data) AS datum, generate_subscripts(data, 1) AS nth FROM (
            SELECT person, measure, start, line, sampled, coalesce(TRY_CAST(sampled.origin.value AS DOUBLE), 0) AS origin, {unit.format("sampled.origin")} AS unit,
                sampled.period AS period, string_split(trim(regexp_replace(sampled.data, '\\s+', ' ', 'g')), ' ') AS data
            FROM fhir_series WHERE {kept} AND sampled IS NOT NULL AND sampled.period IS NOT NULL AND coalesce(sampled.dimensions, 1) = 1))""",
    )
