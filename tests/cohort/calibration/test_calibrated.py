"""Cohorts reweighted to a published Table 1: what they then look like, and what cannot be met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from trialsim.cohort import Population, draw_cohort
from trialsim.cohort.calibration.calibrated import CalibratedCohort
from trialsim.cohort.calibration.targets import Target
from trialsim.errors import ProtocolError
from trialsim.rng import Block, Streams

COVARIATES = {
    "age": {"dist": "normal", "mean": "60 years", "sd": "10 years"},
    "ldh": {"dist": "lognormal", "median": 200, "sd_log": 0.4},
    "ecog": {"dist": "categorical", "probs": {"0": 0.5, "1": 0.3, "2": 0.2}},
}
TARGETS = {
    "age": {"mean": "66 years", "sd": "8 years"},
    "ldh": {"median": 240, "quantiles": {0.25: 190, 0.75: 300}},
    "ecog": {"proportions": {"0": 0.6, "2": "10 %"}},
}
YEAR = 365.25


def _population(targets: object = TARGETS, **more: object) -> Population:
    return Population.model_validate({"planned_enrollment": 400, "covariates": COVARIATES, "calibrate_to": targets, **more})


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """400,000 patients, by covariate."""
    model = _population().cohort_model(Path())
    assert isinstance(model, CalibratedCohort)
    cohort = draw_cohort(model, {}, Streams(1), Block(0, 1000), 400)
    return {name: column.numpy().ravel() for name, column in cohort.columns.items()}


def test_every_target_is_met(drawn: dict[str, np.ndarray]):
    """Four Monte Carlo standard errors of 400,000 patients."""
    root = np.sqrt(400_000)
    assert drawn["age"].mean() / YEAR == pytest.approx(66, abs=4 * 8 / root)
    assert drawn["age"].std() / YEAR == pytest.approx(8, abs=4 * 8 / (np.sqrt(2) * root) * 1.2)
    for at, share in ((190, 0.25), (240, 0.5), (300, 0.75)):
        assert (drawn["ldh"] < at).mean() == pytest.approx(share, abs=4 * 0.5 / root)
    for code, share in ((0, 0.6), (1, 0.3), (2, 0.1)):
        assert (drawn["ecog"] == code).mean() == pytest.approx(share, abs=4 * 0.5 / root)


def test_a_mean_alone_tilts_a_normal_into_a_normal():
    """Exponential tilting of Normal(60, 10) to mean 65 is Normal(65, 10): effective share exp(-0.25)."""
    model = _population({"age": {"mean": "65 years"}}).cohort_model(Path())
    assert isinstance(model, CalibratedCohort)
    assert model.share == pytest.approx(np.exp(-0.25), abs=0.01)
    age = model.sample(Streams(3), Block(0, 1000), 400).columns["age"].numpy().ravel() / YEAR
    assert age.std() == pytest.approx(10, abs=0.08)  # the pool's own error in the tail the weights rest on
    assert np.quantile(age, 0.9) == pytest.approx(65 + 10 * 1.2815515655446004, abs=0.12)


def test_the_targets_describe_the_eligible():
    population = _population({"age": {"mean": "70 years"}}, eligibility={"adult": {"category": "inclusion", "covariate": "age", "min": "62 years"}})
    cohort = draw_cohort(population.cohort_model(Path()), population.eligibility, Streams(1), Block(0, 250), 400)
    age = cohort.columns["age"].numpy() / YEAR
    assert age.min() >= 62
    assert age.mean() == pytest.approx(70, abs=4 * age.std() / np.sqrt(100_000))


def test_patients_do_not_depend_on_the_block():
    model = _population().cohort_model(Path())
    whole = model.sample(Streams(9), Block(0, 7), 100)
    for replicate in range(7):
        alone = model.sample(Streams(9), Block(replicate, 1), 80)
        for name, column in alone.columns.items():
            np.testing.assert_array_equal(column.numpy()[0], whole.columns[name].numpy()[replicate, :80])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"age": {"mean": "120 years"}}, "no weights of the eligible patients meet the targets together; furthest from the cohort: the mean of age"),
        ({"age": {"mean": "60 years", "sd": "1 years"}, "ldh": {"median": 900}}, "patients would carry the weight (effective sample size)"),
    ],
)
def test_what_cannot_be_met_says_so(targets: object, message: str):
    with pytest.raises(ProtocolError) as caught:
        _population(targets).cohort_model(Path())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"agee": {"mean": 1}}, '"agee" is not a covariate; did you mean "age"?'),
        ({"age": {"mean": 66}}, '"age" is a time, which 66 is not'),
        ({"ecog": {"mean": 1}}, '"ecog" is a category (0, 1, 2); its target is proportions'),
        ({"ecog": {"proportions": {"4": 0.5}}}, '"4" is not a level of "ecog"; allowed: 0, 1, 2'),
    ],
)
def test_targets_that_do_not_fit_the_covariates_are_named(targets: object, message: str):
    with pytest.raises(ValidationError) as caught:
        _population(targets)
    assert [error["msg"] for error in caught.value.errors()] == [message]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a target is a mean, sd, median, quantiles or proportions"),
        ({"sd": 2}, "sd needs the mean beside it"),
        ({"mean": 1, "sd": 0}, "an sd is above 0"),
        ({"median": 3, "quantiles": {0.5: 4}}, "the median is given twice"),
        ({"quantiles": {0.25: 5, 0.75: 4}}, "quantiles must grow with their probability"),
        ({"proportions": {"0": 0.7, "1": 0.6}}, "the proportions add up to 1.3"),
    ],
)
def test_a_target_that_cannot_be_is_one_sentence(given: object, message: str):
    with pytest.raises(ValidationError) as caught:
        Target.model_validate(given)
    assert [error["msg"] for error in caught.value.errors()] == [message]


def test_a_quantile_or_a_level_that_is_given_twice():
    assert Target.model_validate({"quantiles": {"25 %": 50}}).below == {0.25: Target.model_validate({"mean": 50}).mean}
    for given, said in (
        ({"quantiles": {"0.5": 50, "0.50": 60}}, "0.5 is given twice"),
        ({"quantiles": {"50%": 50, 0.5: 60}}, "0.5 is given twice"),
        ({"proportions": {1: 0.4, "1": 0.5}}, "a level is given twice"),
        ({"proportions": {1.0: 0.4, "1": 0.5}}, "a level is given twice"),
    ):
        with pytest.raises(ValidationError, match=said):
            Target.model_validate(given)
