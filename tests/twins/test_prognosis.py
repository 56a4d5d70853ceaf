"""Linear predictors against arithmetic on the cohort."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from trialsim.records import Cohort
from trialsim.twins.prognosis import LinearPredictor, Prognostic

COHORT = Cohort(
    {
        "ecog": torch.tensor([[0.0, 1.0, 2.0, torch.nan]], dtype=torch.float64),
        "age": torch.tensor([[50.0, 60.0, torch.nan, 75.0]], dtype=torch.float64) * 365.25,
        "marker": torch.tensor([[0.0, 1.0, 1.0, torch.nan]], dtype=torch.float64),
    },
    {"ecog": ("0", "1", "2+")},
)


def predict(declared: dict[str, Any]) -> Any:
    return LinearPredictor({name: Prognostic.model_validate(keys) for name, keys in declared.items()}, COHORT.levels)(COHORT)


def test_a_number_counts_per_unit_from_its_centre() -> None:
    eta = predict({"age": {"hr": 1.3, "per": "10 years", "center": "60 years"}})
    torch.testing.assert_close(eta[0], math.log(1.3) * torch.tensor([-1.0, 0.0, 0.0, 1.5], dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_a_level_counts_for_its_category_alone() -> None:
    assert predict({"ecog": {"hr": 2.0, "level": "2+"}})[0].tolist() == [0.0, 0.0, math.log(2.0), 0.0]
    assert predict({"marker": {"shift": -3.0, "level": 1}})[0].tolist() == [0.0, -3.0, -3.0, 0.0]


def test_terms_add_up_and_missing_values_contribute_nothing() -> None:
    eta = predict({"ecog": {"hr": 2.0, "level": "1"}, "age": {"hr": 1.3, "per": "10 years", "center": "60 years"}, "marker": {"hr": 0.5}})
    expected = [-math.log(1.3), math.log(2) + math.log(0.5), math.log(0.5), 1.5 * math.log(1.3)]
    torch.testing.assert_close(eta[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_ratios_of_one_and_no_covariates_are_no_predictor() -> None:
    assert predict({"marker": {"hr": 1.0}}) is None
    assert not LinearPredictor({}, {})
    assert LinearPredictor({}, {})(None) is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "a prognostic covariate needs exactly one of hr, or, rate_ratio, slope or shift; none given"),
        ({"hr": 2, "or": 3}, "a prognostic covariate needs exactly one of hr, or, rate_ratio, slope or shift; hr and or given"),
        ({"hr": -2}, "Input should be greater than 0"),
        ({"hr": 2, "level": "1", "per": 2}, "level is for one category; per and center are for a number: give one or the other"),
        ({"hr": 2, "per": "-10 years"}, "per must be positive; -3652.5 days given"),
    ],
)
def test_a_wrong_prognostic_is_one_clear_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Prognostic.model_validate(keys)
    assert [error["msg"] for error in caught.value.errors()] == [message]


def test_a_rate_is_read_as_a_slope_per_day() -> None:
    assert Prognostic.model_validate({"slope": "0.3 / year"}).coefficient == pytest.approx(0.3 / 365.25)
    assert Prognostic.model_validate({"or": 2.0}).coefficient == math.log(2.0)
