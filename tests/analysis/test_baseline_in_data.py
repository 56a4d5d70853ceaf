"""Real baselines coded as a cohort model codes them."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.analysis.baseline_in_data import cohort_in_data
from trialsim.cohort import Population
from trialsim.data import Card, read_table
from trialsim.errors import DataError


def test_levels_are_indices_and_times_are_days(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("age,ecog,sex\n50,1,f\n,0,x\n61,2,m\n")
    columns = {"age": {"type": "continuous", "unit": "years"}, "ecog": {"type": "integer"}, "sex": {"type": "categorical"}}
    table = read_table(file, Card.model_validate({"id": "x", "title": "x", "source": "x", "columns": columns}))
    population = Population.model_validate(
        {
            "planned_enrollment": 10,
            "covariates": {
                "age": {"dist": "normal", "mean": "60 years", "sd": "9 years"},
                "ecog": {"dist": "categorical", "probs": {"0": 0.5, "1": 0.5}},
                "sex": {"dist": "categorical", "probs": {"m": 0.5, "f": 0.5}},
            },
        }
    )
    model = population.cohort_model(tmp_path)
    cohort = cohort_in_data(table, model)
    np.testing.assert_allclose(cohort.columns["age"][0].numpy(), [50 * 365.25, np.nan, 61 * 365.25])
    np.testing.assert_array_equal(cohort.columns["ecog"][0].numpy(), [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(cohort.columns["sex"][0].numpy(), [1.0, np.nan, 0.0])
    assert cohort.levels["sex"] == ("m", "f")
    file.write_text("age,ecog\n50,1\n")
    with pytest.raises(DataError, match='there is no column "sex"'):
        cohort_in_data(read_table(file), model)
