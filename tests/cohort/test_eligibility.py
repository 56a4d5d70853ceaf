"""Criteria, and the draw of eligible patients by address."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from trialsim.cohort import Criterion, DeclaredCohort, Population, check_acceptance, check_criteria, draw_cohort
from trialsim.errors import ProtocolError
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

NAN = float("nan")


def _criterion(**keys) -> Criterion:
    return Criterion.model_validate(keys)


def _cohort() -> Cohort:
    columns = {"x": [1.0, 2.0, 3.0, NAN], "stage": [0.0, 1.0, 2.0, NAN]}
    return Cohort({name: torch.tensor([column], dtype=torch.float64) for name, column in columns.items()}, {"stage": ("I", "II", "III")})


@pytest.mark.parametrize(
    "keys, admitted",
    [
        ({"category": "inclusion", "covariate": "x", "min": 2}, [False, True, True, False]),
        ({"category": "inclusion", "covariate": "x", "max": 2}, [True, True, False, False]),
        ({"category": "inclusion", "covariate": "x", "min": 2, "max": 2}, [False, True, False, False]),
        ({"category": "exclusion", "covariate": "x", "min": 2}, [True, False, False, False]),
        ({"category": "inclusion", "covariate": "x", "equals": 3}, [False, False, True, False]),
        ({"category": "inclusion", "covariate": "x", "in": [1, 3]}, [True, False, True, False]),
        ({"category": "inclusion", "covariate": "stage", "equals": "II"}, [False, True, False, False]),
        ({"category": "exclusion", "covariate": "stage", "in": ["I", "III"]}, [False, True, False, False]),
    ],
)
def test_bounds_are_inclusive_and_a_missing_value_fails(keys, admitted):
    assert _criterion(**keys).admits(_cohort())[0].tolist() == admitted


@pytest.mark.parametrize(
    "keys, sentence",
    [
        ({"category": "inclusion", "covariate": "x"}, "needs at least one of min, max, in, equals"),
        ({"category": "inclusion", "covariate": "x", "min": 3, "max": 2}, "min is 3 and max is 2; min must not be above max"),
        ({"category": "inclusion", "covariate": "x", "min": "3 years", "max": 2}, "min and max must have the same unit"),
        ({"category": "inclusion", "covariate": "x", "in": []}, "in is empty"),
    ],
)
def test_a_criterion_that_says_nothing(keys, sentence):
    with pytest.raises(ValidationError) as caught:
        _criterion(**keys)
    assert caught.value.errors()[0]["msg"] == sentence


def _model(**covariates) -> DeclaredCohort:
    return DeclaredCohort(Population.model_validate({"planned_enrollment": 1, "covariates": covariates}).covariates)


def test_criteria_are_held_against_the_model():
    model = _model(age={"dist": "normal", "mean": "60 years", "sd": "9 years"}, sex={"dist": "categorical", "probs": {"female": 0.5, "male": 0.5}})
    criteria = {
        "I1": _criterion(category="inclusion", covariate="aeg", min=18),
        "I2": _criterion(category="inclusion", covariate="age", min=18),
        "I3": _criterion(category="inclusion", covariate="sex", equals="mal"),
        "I4": _criterion(category="inclusion", covariate="sex", min=1),
        "I5": _criterion(category="inclusion", covariate="age", min="18 years"),
    }
    with pytest.raises(ProtocolError) as caught:
        check_criteria(criteria, model)
    assert [str(problem) for problem in caught.value.problems] == [
        'population.eligibility.I1.covariate: "aeg" is not a covariate of the cohort; did you mean "age"?',
        'population.eligibility.I2.min: 18 does not fit "age", which is a time; write for example 18 years',
        'population.eligibility.I3.equals: "mal" is not a level of "sex"; did you mean "male"?',
        'population.eligibility.I4.min: "sex" has levels (female, male), not a scale; use in or equals',
    ]


NORMAL = {"dist": "normal", "mean": 0, "sd": 1}


def test_a_slot_holds_its_first_eligible_attempt():
    model, criteria = _model(x=NORMAL, y=NORMAL), {"I": _criterion(category="inclusion", covariate="x", min=0.5)}
    drawn = draw_cohort(model, criteria, Streams(1), Block(3, 5), 20)
    for r in range(5):
        for i in range(20):
            for attempt in range(1000):
                tried = model.sample(Streams(1), Block(3 + r, 1), 20, attempt=attempt).columns
                if tried["x"][0, i] >= 0.5:
                    assert drawn.columns["x"][r, i] == tried["x"][0, i]
                    assert drawn.columns["y"][r, i] == tried["y"][0, i]
                    break


def test_eligible_patients_have_the_conditional_distribution():
    model = _model(x=NORMAL)
    criteria = {"I": _criterion(category="inclusion", covariate="x", min=1), "E": _criterion(category="exclusion", covariate="x", min=2)}
    x = draw_cohort(model, criteria, Streams(2), Block(0, 50), 200).columns["x"].flatten()
    assert x.min() >= 1
    assert x.max() < 2
    witness = stats.truncnorm(1, 2)
    assert abs(x.mean().item() - witness.mean()) < 4 * witness.std() / math.sqrt(10_000)
    assert stats.kstest(x.numpy(), witness.cdf).pvalue > 1e-4


def test_the_same_bits_for_any_block():
    model, criteria = _model(x=NORMAL), {"I": _criterion(category="inclusion", covariate="x", min=0.7)}
    whole = draw_cohort(model, criteria, Streams(3), Block(0, 24), 100).columns["x"]
    for size in (1, 7):
        parts = [draw_cohort(model, criteria, Streams(3), Block(first, min(size, 24 - first)), 100).columns["x"] for first in range(0, 24, size)]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(draw_cohort(model, criteria, Streams(3), Block(0, 24), 65).columns["x"], whole[:, :65])


def test_criteria_that_leave_no_patients_stop_with_the_acceptance_rate():
    model = _model(x=NORMAL)
    criteria = {"I": _criterion(category="inclusion", covariate="x", min=3.5)}
    for attempt in (lambda: draw_cohort(model, criteria, Streams(4), Block(0, 2), 50), lambda: check_acceptance(model, criteria, Streams(4))):
        with pytest.raises(
            ProtocolError, match=r"population\.eligibility: \d+ of 100,000 drawn patients are eligible \(acceptance rate 0\.0\d\d%\); at least 0\.1 % is needed"
        ):
            attempt()


def test_a_rare_patient_is_still_found():
    model = _model(x=NORMAL)
    criteria = {"I": _criterion(category="inclusion", covariate="x", min=2.8)}  # 0.26 %
    assert draw_cohort(model, criteria, Streams(5), Block(0, 1), 3).columns["x"].min() >= 2.8
    assert check_acceptance(model, criteria, Streams(5)) == pytest.approx(1 - stats.norm.cdf(2.8), abs=4 * math.sqrt(0.0026 / 1e5))
