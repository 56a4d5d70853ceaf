"""The tables of the OMOP Common Data Model 5.4 that are read, and their columns.

**Source:** OHDSI, OMOP Common Data Model v5.4, https://ohdsi.github.io/CommonDataModel/cdm54.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INTEGER, NUMBER, TEXT, DATE, TIME = "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP"


@dataclass(frozen=True, slots=True)
class OmopTable:
    """Columns by name and type; those in `needed` must be there, others may be missing and are null."""

    columns: Mapping[str, str]
    needed: frozenset[str]


def _table(needed: Mapping[str, str], **optional: str) -> OmopTable:
    return OmopTable({**needed, **optional}, frozenset(needed))


@dataclass(frozen=True, slots=True)
class ClinicalTable:
    """How the records of a clinical table become events: the names of its columns."""

    kind: str
    concept: str
    source_concept: str
    date: str
    time: str
    end: str | None = None
    value: bool = False


CLINICAL: Mapping[str, ClinicalTable] = {
    "condition_occurrence": ClinicalTable(
        "condition", "condition_concept_id", "condition_source_concept_id", "condition_start_date", "condition_start_datetime", "condition_end_date"
    ),
    "drug_exposure": ClinicalTable(
        "medication", "drug_concept_id", "drug_source_concept_id", "drug_exposure_start_date", "drug_exposure_start_datetime", "drug_exposure_end_date"
    ),
    "measurement": ClinicalTable(
        "observation", "measurement_concept_id", "measurement_source_concept_id", "measurement_date", "measurement_datetime", value=True
    ),
    "observation": ClinicalTable(
        "observation", "observation_concept_id", "observation_source_concept_id", "observation_date", "observation_datetime", value=True
    ),
    "procedure_occurrence": ClinicalTable("observation", "procedure_concept_id", "procedure_source_concept_id", "procedure_date", "procedure_datetime"),
    "visit_occurrence": ClinicalTable("visit", "visit_concept_id", "visit_source_concept_id", "visit_start_date", "visit_start_datetime", "visit_end_date"),
}


def _clinical(name: str) -> OmopTable:
    of = CLINICAL[name]
    optional = {of.source_concept: INTEGER, of.time: TIME}
    if of.end is not None:
        optional[of.end] = DATE
    if of.value:
        optional |= {"value_as_number": NUMBER, "value_as_concept_id": INTEGER, "unit_concept_id": INTEGER, "unit_source_value": TEXT}
    if name == "measurement":
        optional["operator_concept_id"] = INTEGER
    if name == "observation":
        optional["value_as_string"] = TEXT
    return _table({"person_id": INTEGER, of.concept: INTEGER, of.date: DATE}, **optional)


TABLES: Mapping[str, OmopTable] = {
    "person": _table(
        {"person_id": INTEGER, "gender_concept_id": INTEGER, "year_of_birth": INTEGER},
        month_of_birth=INTEGER,
        day_of_birth=INTEGER,
        birth_datetime=TIME,
        race_concept_id=INTEGER,
        ethnicity_concept_id=INTEGER,
    ),
    "death": _table({"person_id": INTEGER, "death_date": DATE}),
    "observation_period": _table({"person_id": INTEGER, "observation_period_start_date": DATE, "observation_period_end_date": DATE}),
    "concept": _table({"concept_id": INTEGER, "vocabulary_id": TEXT, "concept_code": TEXT}, concept_name=TEXT),
    "concept_ancestor": _table({"ancestor_concept_id": INTEGER, "descendant_concept_id": INTEGER}),
    **{name: _clinical(name) for name in CLINICAL},
}

VOCABULARIES: Mapping[str, str] = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://www.whocc.no/atc": "ATC",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "http://unitsofmeasure.org": "UCUM",
}
"""The system of a code list -> the vocabulary of OMOP; any other system is taken for a vocabulary_id."""

CONCEPT_SYSTEM = "OMOP"
"""The system of a code list whose codes are concept ids; it needs no table of concepts."""

SEXES = {8507: "male", 8532: "female"}
"""Concept ids of gender; others are named as their concept is, where there is a table of concepts."""
