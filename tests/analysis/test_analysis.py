"""What all analyses have in common: the question, alpha and sides."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trialsim.analysis import Analysis, Treatment

QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.mark.parametrize(
    "given, alpha, one_sided", [({}, 0.05, 0.025), ({"sides": 1}, 0.025, 0.025), ({"alpha": "10 %"}, 0.1, 0.05), ({"alpha": 0.05, "sides": 1}, 0.05, 0.05)]
)
def test_alpha_is_total_over_the_sides(given, alpha, one_sided):
    analysis = Analysis.model_validate({**QUESTION, **given})
    assert analysis.alpha == pytest.approx(alpha, abs=1e-15)
    assert analysis.alpha_one_sided == pytest.approx(one_sided, abs=1e-15)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "give an estimand, or endpoint and treatment"),
        ({"endpoint": "y"}, "give an estimand, or endpoint and treatment"),
        ({"estimand": "e", "endpoint": "y"}, "not both"),
        ({**QUESTION, "alpha": 0}, "greater than 0"),
        ({**QUESTION, "sides": 3}, "1 or 2"),
        ({**QUESTION, "type": "non_inferiority"}, "needs a margin"),
        ({**QUESTION, "margin": 1.0}, "needs type"),
        ({**QUESTION, "type": "equivalence", "margin": -1.0}, "greater than 0"),
        ({**QUESTION, "multiplicity": {"graph": {"weights": {"a": 0.7, "b": 0.7}, "transitions": {}}}}, "more than 1"),
        ({**QUESTION, "multiplicity": {"graph": {"weights": {"a": 1}, "transitions": {"a": {"c": 1}}}}}, "has no weight"),
    ],
)
def test_an_inconsistent_analysis_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Analysis.model_validate(given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"test": "a", "reference": "a"}, "both test and reference"),
        ({"test": ["a", "a"], "reference": "b"}, "twice"),
        ({"test": [], "reference": "b"}, "no arm"),
    ],
)
def test_a_treatment_compares_different_arms(given, message):
    with pytest.raises(ValidationError, match=message):
        Treatment.model_validate(given)


def test_there_may_be_several_test_arms():
    assert Treatment.model_validate({"test": ["high", "low"], "reference": "placebo"}).tests == ("high", "low")
    assert Treatment(test="high", reference="placebo").tests == ("high",)


def test_names_may_be_one_or_a_list():
    analysis = type("WithCovariates", (Analysis,), {"takes_covariates": True})
    assert analysis.model_validate({**QUESTION, "covariates": "age"}).covariates == ("age",)
    with pytest.raises(ValidationError, match="twice"):
        analysis.model_validate({**QUESTION, "covariates": ["age", "age"]})
