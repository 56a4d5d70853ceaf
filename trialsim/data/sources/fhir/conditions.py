"""Condition: a diagnosis or problem."""

from __future__ import annotations

from trialsim.data.sources.fhir.facts import insert_facts, stage_facts
from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import CODING, PERIOD, REFERENCE, Reading

_SHAPE = (
    '{"subject":' + REFERENCE + ',"code":{"coding":' + CODING + '},"verificationStatus":{"coding":' + CODING + "},"
    '"onsetDateTime":"VARCHAR","onsetPeriod":' + PERIOD + ',"recordedDate":"VARCHAR","abatementDateTime":"VARCHAR","abatementPeriod":' + PERIOD + "}"
)
_COLUMNS = """
    CASE WHEN len(list_filter(r.verificationStatus.coding, lambda c: c.code IN ('entered-in-error', 'refuted'))) > 0
        THEN 'entered in error or refuted' END AS status_words,
    r.subject.reference AS reference,
    coalesce(r.onsetDateTime, r.onsetPeriod.start) IS NULL AND r.recordedDate IS NOT NULL AS only_recorded,
    coalesce(r.onsetDateTime, r.onsetPeriod.start, r.recordedDate) AS start_text,
    coalesce(r.abatementDateTime, r.abatementPeriod."end", r.abatementPeriod.start) AS stop_text, r.code.coding AS codings"""


def read_conditions(reading: Reading, file: NdjsonFile) -> None:
    """Conditions become events of the kind `condition`, from their onset (else the date they were recorded) to their abatement.

    Left out and counted: those entered in error or refuted, and those without any date. An onset given as an age, a range or
    words is not read; the recorded date stands for it. The clinical status is not read: the abatement says when it ended.
    """
    stage_facts(reading, file, "Condition", shape=_SHAPE, columns=_COLUMNS)
    reading.count({"dated by when they were recorded": "left_out IS NULL AND only_recorded"}, "fhir_facts", kind="Condition")
    insert_facts(reading, file, "Condition", event="condition")
