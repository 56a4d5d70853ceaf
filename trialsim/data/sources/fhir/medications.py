"""MedicationRequest: a prescription; and the Medication that it may refer to."""

from __future__ import annotations

from trialsim.data.sources.fhir.facts import insert_facts, stage_facts
from trialsim.data.sources.fhir.ndjson import NdjsonFile
from trialsim.data.sources.fhir.reading import CODING, PERIOD, REFERENCE, Reading

_CODE = '"code":{"coding":' + CODING + "}"
_MEDICATION = '{"id":"VARCHAR",' + _CODE + "}"
_SHAPE = (
    '{"status":"VARCHAR","intent":"VARCHAR","doNotPerform":"VARCHAR","subject":' + REFERENCE + ","
    '"authoredOn":"VARCHAR","medicationCodeableConcept":{"coding":' + CODING + '},"medicationReference":' + REFERENCE + ","
    '"dispenseRequest":{"validityPeriod":' + PERIOD + '},"contained":[{"id":"VARCHAR",' + _CODE + "}]}"
)
_COLUMNS = """
    CASE WHEN r.status IN ('entered-in-error', 'cancelled', 'draft') THEN 'entered in error, cancelled or a draft'
        WHEN r.doNotPerform = 'true' THEN 'asks not to give it'
        WHEN r.intent IN ('proposal', 'plan', 'option') THEN 'a proposal, plan or option'
        WHEN r.medicationReference.reference IS NOT NULL AND NOT starts_with(r.medicationReference.reference, '#') AND m.id IS NULL
        THEN 'whose Medication is not in the export' END AS status_words,
    r.subject.reference AS reference, r.authoredOn AS start_text, r.dispenseRequest.validityPeriod."end" AS stop_text,
    coalesce(r.medicationCodeableConcept.coding, m.codings,
        list_filter(r.contained, lambda x: '#' || x.id = r.medicationReference.reference)[1].code.coding) AS codings"""


def read_medications(reading: Reading, file: NdjsonFile) -> None:
    """Keeps the codes of Medication resources for the prescriptions that refer to them."""
    reading.staging.connection.execute(f"INSERT INTO fhir_medications SELECT r.id, r.code.coding FROM ({file.resources('Medication', _MEDICATION)})")
    reading.tally["Medication: read"] += file.types["Medication"]


def read_medication_requests(reading: Reading, file: NdjsonFile) -> None:
    """Prescriptions become events of the kind `medication`, from when they were written to the end of their validity, if given.

    The code is that of medicationCodeableConcept, or of the Medication referred to (contained, or a resource of the export).
    Left out and counted: the status entered-in-error, cancelled or draft; `doNotPerform`; the intent proposal, plan or
    option; Medications that are not in the export. Doses are not read.
    """
    known = "LEFT JOIN (SELECT id, any_value(codings) AS codings FROM fhir_medications GROUP BY id) m ON m.id = fhir_id('Medication', r.medicationReference.reference)"
    stage_facts(reading, file, "MedicationRequest", shape=_SHAPE, columns=_COLUMNS, where_from=known)
    insert_facts(reading, file, "MedicationRequest", event="medication")
