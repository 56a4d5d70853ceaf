"""A small *synthetic* OMOP CDM 5.4 extract: made-up persons, made by a seeded generator. No real person is in it."""

from __future__ import annotations

import numpy as np
import pandas as pd

CONCEPTS = pd.DataFrame(
    {
        "concept_id": [8507, 8532, 8527, 38003564, 201826, 443238, 1503297, 40164929, 3004410, 8554, 9529, 9202, 44819713],
        "concept_name": [
            "MALE", "FEMALE", "White", "Not Hispanic or Latino", "Type 2 diabetes mellitus", "Diabetic - poor control", "metformin",
            "metformin hydrochloride 500 MG", "Hemoglobin A1c/Hemoglobin.total in Blood", "percent", "kilogram", "Outpatient Visit", "Diabetes II, source",
        ],
        "vocabulary_id": ["Gender", "Gender", "Race", "Ethnicity", "SNOMED", "SNOMED", "RxNorm", "RxNorm", "LOINC", "UCUM", "UCUM", "Visit", "ICD10CM"],
        "concept_code": ["M", "F", "5", "Not Hispanic", "44054006", "268519009", "6809", "860975", "4548-4", "%", "kg", "OP", "E11.9"],
    }
)  # fmt: skip


def extract(n: int = 40, seed: int = 1) -> dict[str, pd.DataFrame]:
    """The tables by name; every number of persons and records follows from the seed."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, n + 1)
    day = pd.Timestamp("2020-01-01")

    def after(days: np.ndarray) -> list[str]:
        return [str((day + pd.Timedelta(days=int(value))).date()) for value in days]

    person = pd.DataFrame(
        {
            "person_id": ids,
            "gender_concept_id": rng.choice([8507, 8532], n),
            "year_of_birth": rng.integers(1940, 1990, n),
            "month_of_birth": rng.integers(1, 13, n),
            "day_of_birth": 15,
            "race_concept_id": 8527,
            "ethnicity_concept_id": 0,
        }
    )
    diagnosed = rng.integers(0, 300, n)
    condition = pd.DataFrame(
        {
            "condition_occurrence_id": ids,
            "person_id": ids,
            "condition_concept_id": np.where(ids % 4 == 0, 443238, 201826),
            "condition_start_date": after(diagnosed),
            "condition_source_concept_id": 44819713,
        }
    )
    who = np.repeat(ids, 3)
    measurement = pd.DataFrame(
        {
            "measurement_id": np.arange(1, len(who) + 1),
            "person_id": who,
            "measurement_concept_id": 3004410,
            "measurement_date": after(np.repeat(diagnosed, 3) + np.tile([-100, -10, 50], n)),
            "value_as_number": rng.normal(8, 1, len(who)).round(1),
            "unit_concept_id": 8554,
            "unit_source_value": "percent",
            "operator_concept_id": 0,
        }
    )
    drug = pd.DataFrame(
        {
            "drug_exposure_id": ids[::2],
            "person_id": ids[::2],
            "drug_concept_id": 40164929,
            "drug_exposure_start_date": after(diagnosed[::2] - 20),
            "drug_exposure_end_date": after(diagnosed[::2] + 70),
        }
    )
    death = pd.DataFrame({"person_id": ids[:3], "death_date": after(diagnosed[:3] + 400)})
    period = pd.DataFrame(
        {"observation_period_id": ids, "person_id": ids, "observation_period_start_date": "2019-01-01", "observation_period_end_date": "2022-12-31"}
    )
    ancestor = pd.DataFrame({"ancestor_concept_id": [201826, 201826, 1503297, 1503297], "descendant_concept_id": [201826, 443238, 1503297, 40164929]})
    return {
        "person": person, "condition_occurrence": condition, "measurement": measurement, "drug_exposure": drug,
        "death": death, "observation_period": period, "concept": CONCEPTS, "concept_ancestor": ancestor,
    }  # fmt: skip
