"""A FHIR R4 bulk export as a source: `kind: fhir`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trialsim.data.sources.fhir.conditions import read_conditions
from trialsim.data.sources.fhir.consents import count_contradictions, prepare_consents, read_consents
from trialsim.data.sources.fhir.medications import read_medication_requests, read_medications
from trialsim.data.sources.fhir.ndjson import files_below, open_file
from trialsim.data.sources.fhir.observations import read_observations
from trialsim.data.sources.fhir.patients import read_patients
from trialsim.data.sources.fhir.reading import Reading
from trialsim.data.sources.source import FileSource
from trialsim.data.staging import Staging

_READERS = {
    "Patient": read_patients,
    "Medication": read_medications,
    "Condition": read_conditions,
    "Observation": read_observations,
    "MedicationRequest": read_medication_requests,
}


class Fhir(FileSource):
    """Patient, Condition, Observation, MedicationRequest (with Medication) and Consent of an export, from NDJSON, compressed (`.gz`) or not.

    A file may hold resources of several types. References are `Patient/1`, absolute, or `urn:uuid:`. Times with a zone become
    UTC; partial dates are their first day. Every resource type is read in SQL, in one pass over its files after a first
    one that counts the types.

    Not handled: resources of other types (counted; QuestionnaireResponses are read by `kind: questionnaire`), Bundles, merged
    patients, references to several servers that use the same ids, translations between code systems.
    **Source:** HL7 FHIR R4 (4.0.1) and FHIR Bulk Data Access, https://hl7.org/fhir/R4.
    """

    kind: Literal["fhir"]
    recipients: tuple[str, ...] = Field(
        default=(),
        description="References of the organisations that the data were given to (Organization/1). A Consent that names other actors permits nothing.",
    )

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons, events and consents; notes every line that cannot be read."""
        reading = Reading(staging, name, codes)
        reading.prepare()
        prepare_consents(reading)
        files = [open_file(staging, path) for path in files_below(self.paths(folder))]
        for kind, read in _READERS.items():
            for file in files:
                if kind in file.types:
                    read(reading, file)
        for file in files:
            if "Consent" in file.types:
                read_consents(reading, file, recipients=self.recipients)
        count_contradictions(reading)
        for file in files:
            for kind, n in sorted(file.types.items()):
                if kind not in _READERS and kind != "Consent":
                    reading.tally[f"{kind}: not read by this source"] += n
        reading.hand_in()
