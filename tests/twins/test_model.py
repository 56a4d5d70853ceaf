"""Values, prognosis, what is known exactly, and outcomes of a fitted cohort (a cohort model with outcomes, written here)."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from trialsim.errors import NotSupportedError, ProtocolError
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

BLOCK, N = Block(0, 20), 150


class LearnedEvent:
    breaks = (100.0, 300.0)
    hazards = (0.001, 0.003, 0.002)
    arm_log_hr: ClassVar[Mapping[str, float]] = {"experimental": -0.6, "control": 0.0}

    def linear_predictor(self, cohort: Cohort) -> torch.Tensor:
        return 0.02 * (cohort.columns["age"] / 365.25 - 60)


class LearnedValue:
    sd = 12.0
    arm_difference: ClassVar[Mapping[str, float]] = {"experimental": 40.0, "control": 0.0}
    baseline = "marker"

    def __init__(self, offset: float):
        self.offset = offset

    def mean(self, cohort: Cohort) -> torch.Tensor:
        return self.offset + cohort.columns["age"] / 365.25


class FittedCovariates:
    names = ("age", "marker")
    levels: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    units: ClassVar[Mapping[str, str]] = {"age": "time", "marker": ""}
    events: ClassVar[Mapping[str, LearnedEvent]] = {"y": LearnedEvent()}
    values: ClassVar[Mapping[tuple[str, str], LearnedValue]] = {("y", "w12"): LearnedValue(100.0), ("y", "w24"): LearnedValue(200.0)}

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        age = 365.25 * (40 + 40 * streams("covariate/age").uniform(block, n))
        return Cohort({"age": age, "marker": streams("covariate/marker").normal(block, n)})


# Event times of a fitted cohort ---------------------------------------------------------------------------------------------


def test_a_fitted_event_is_its_piecewise_hazard_at_the_reference_arm(twins: Any) -> None:
    """The same numbers as the declared piecewise law with the fitted linear predictor as a prognostic covariate."""
    learned = twins({"dist": "fitted"}, {"experimental": {"fitted": 1}, "third": {"hr": 0.5}}, cohort=FittedCovariates())
    pieces = [{"until": "100 days", "rate": "0.001 / day"}, {"until": "300 days", "rate": "0.003 / day"}, {"rate": "0.002 / day"}]
    prognostic = {"age": {"hr": math.exp(0.2), "per": "10 years", "center": "60 years"}}
    declared = twins(
        {"dist": "piecewise_exponential", "pieces": pieces, "prognostic": prognostic},
        {"experimental": {"hr": math.exp(-0.6)}, "third": {"hr": 0.5}},
        cohort=FittedCovariates(),
    )
    for arm in (0, 1, 2, "assigned"):
        torch.testing.assert_close(learned.times(arm), declared.times(arm), rtol=1e-10, atol=0)
    torch.testing.assert_close(
        learned.model.prognosis("y", None, learned.cohort(BLOCK, N)), declared.model.prognosis("y", None, declared.cohort(BLOCK, N)), rtol=1e-9, atol=1e-12
    )
    assert learned.model.constant_log_hr("y", 0, 1) == pytest.approx(-0.6, rel=1e-14)


def test_declared_effects_replace_fitted_ones_and_no_effect_is_none(twins: Any) -> None:
    undeclared = twins({"dist": "fitted"}, cohort=FittedCovariates())
    assert torch.equal(undeclared.times(0), undeclared.times(1))
    null = twins({"dist": "fitted"}, {"experimental": {"fitted": 0}}, cohort=FittedCovariates())
    assert torch.equal(null.times(0), undeclared.times(1))
    assert null.model.effect_is_identity("y", 0, 1)
    half = twins({"dist": "fitted"}, {"experimental": {"fitted": 0.5}}, cohort=FittedCovariates())
    assert half.model.constant_log_hr("y", 0, 1) == pytest.approx(-0.3, rel=1e-14)
    assert not half.model.effect_is_identity("y", 0, 1)


def test_a_fitted_outcome_without_its_fit_is_refused(twins: Any) -> None:
    with pytest.raises(ProtocolError, match=r"truth\.outcomes\.y: dist: fitted needs a cohort model fitted to data \(population\.source\)"):
        twins({"dist": "fitted"})
    with pytest.raises(ProtocolError, match=r"truth\.outcomes\.y: model: fitted needs a cohort model fitted to data"):
        twins({"model": "fitted"})
    with pytest.raises(ProtocolError, match=r'truth\.outcomes\.z: the fitted cohort has no event time "z"; allowed: y'):
        TwinModel(Truth.model_validate({"outcomes": {"z": {"dist": "fitted"}}}), arms=("a",), cohort=FittedCovariates())
    with pytest.raises(ProtocolError, match=r'truth\.effects\.third\.y\.fitted: the fitted data have no arm "third"; allowed: control, experimental'):
        twins({"dist": "fitted"}, {"third": {"fitted": 1}}, cohort=FittedCovariates())


# Values ---------------------------------------------------------------------------------------------------------------------


def test_fitted_values_are_mean_effect_and_noise_of_their_visit(twins: Any) -> None:
    world = twins({"model": "fitted"}, {"experimental": {"difference": {"w24": 7.0}}, "third": {"difference": -3.0}}, cohort=FittedCovariates())
    cohort = world.cohort(BLOCK, N)
    age = cohort.columns["age"] / 365.25
    for visit, day, offset in (("w12", 84, 100.0), ("w24", 168, 200.0)):
        noise = world.streams("outcome/y").normal(BLOCK, N, index=day)
        for arm, effect in enumerate((7.0 if visit == "w24" else 0.0, 0.0, -3.0)):
            torch.testing.assert_close(world.values(visit, arm), offset + age + effect + 12.0 * noise, rtol=1e-13, atol=0)
        torch.testing.assert_close(world.model.prognosis("y", visit, cohort), offset + age)
    assert torch.equal(world.values("w0", 0), cohort.columns["marker"])
    assert world.model.baseline("y") == "marker"
    assert world.model.effect_is_identity("y", 0, 1, "w12")
    assert not world.model.effect_is_identity("y", 0, 1, "w24")
    assert not world.model.effect_is_identity("y", 0, 1)
    assert world.model.mean_difference("y", "w24", cohort, 0, 1) == 7.0
    assert world.model.mean_difference("y", "w0", cohort, 0, 1) == 0.0


def test_more_visits_change_no_value_and_visits_share_no_noise(twins: Any) -> None:
    few = twins({"model": "fitted"}, cohort=FittedCovariates(), visits={"w0": 0.0, "w24": 168.0})
    many = twins({"model": "fitted"}, cohort=FittedCovariates(), visits={"screening": -14.0, "w0": 0.0, "w12": 84.0, "w18": 126.0, "w24": 168.0})
    assert torch.equal(few.values("w24"), many.values("w24"))
    noise12 = many.values("w12", 0) - many.model.prognosis("y", "w12", many.cohort(BLOCK, N))
    noise24 = many.values("w24", 0) - many.model.prognosis("y", "w24", many.cohort(BLOCK, N))
    correlation = float(torch.corrcoef(torch.stack([noise12.ravel(), noise24.ravel()]))[0, 1])
    assert abs(correlation) < 4 / math.sqrt(3000)
    with pytest.raises(ProtocolError, match=r'outcome "y" has no value at visit "w18"'):
        many.values("w18")
    with pytest.raises(ProtocolError, match=r'visits\.w24: "w24" falls on the same day as "w12"'):
        twins({"model": "fitted"}, cohort=FittedCovariates(), visits={"w12": 84.0, "w24": 84.2})


def test_the_fitted_difference_is_scaled(twins: Any) -> None:
    world = twins({"model": "fitted"}, {"experimental": {"fitted": 0.5}}, cohort=FittedCovariates())
    assert world.model.mean_difference("y", "w12", None, 0, 1) == 20.0
    torch.testing.assert_close(world.values("w12", 0) - world.values("w12", 1), torch.full((20, 150), 20.0, dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_normal_value_is_one_number_per_patient(twins: Any) -> None:
    outcome = {"dist": "normal", "mean": 5.0, "sd": 2.0, "baseline": "age", "prognostic": {"ecog": {"shift": -1.5, "level": "1"}}}
    world = twins(
        outcome,
        {"experimental": {"difference": 0.8}, "third": {"difference": {"by": {"covariate": "region", "values": {"asia": 1, "europe": 0, "america": -1}}}}},
    )
    cohort, noise = world.cohort(BLOCK, N), world.streams("outcome/y").normal(BLOCK, N)
    expected = 5.0 - 1.5 * (cohort.columns["ecog"] == 1).double()
    third = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)[cohort.columns["region"].long()]
    for visit in (None, "w12", "w24"):
        for arm, effect in ((0, 0.8), (1, 0.0), (2, third)):
            torch.testing.assert_close(world.values(visit, arm), expected + effect + 2.0 * noise, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(world.model.prognosis("y", visit, cohort), expected)
    torch.testing.assert_close(world.model.mean_difference("y", "w12", cohort, 2, 0), third - 0.8)
    assert torch.equal(world.values("w0"), cohort.columns["age"])


def test_assigned_values_are_the_counterfactual_ones_bit_for_bit_at_any_block_size(twins: Any) -> None:
    outcome = {"dist": "normal", "mean": 5.0, "sd": 2.0, "prognostic": {"age": {"shift": 0.1, "per": "1 year", "center": "60 years"}}}
    world = twins(
        outcome,
        {"experimental": {"difference": 0.8}, "third": {"difference": {"by": {"covariate": "region", "values": {"asia": 1, "europe": 0, "america": -1}}}}},
    )
    each = torch.stack([world.values("w12", arm) for arm in range(3)])
    whole = world.values("w12")
    assert torch.equal(whole, each.gather(0, world.assigned(BLOCK, N).long()[None])[0])
    for size in (1, 7):
        assert torch.equal(torch.cat([world.values("w12", block=Block(first, min(size, 20 - first))) for first in range(0, 20, size)]), whole)


# What is known exactly ------------------------------------------------------------------------------------------------------


def test_identity_compares_two_arms_not_one_with_nothing(twins: Any) -> None:
    world = twins(
        {"dist": "exponential", "mean": "1 year"}, {"experimental": {"hr": 0.7}, "third": {"hr": [{"until": "1 month", "value": 0.7}, {"value": 0.7}]}}
    )
    assert world.model.effect_is_identity("y", 0, 2)
    assert not world.model.effect_is_identity("y", 0, 1)
    assert world.model.constant_log_hr("y", 0, 2) == 0.0
    assert world.model.constant_log_hr("y", 0, 1) == pytest.approx(math.log(0.7))
    assert not world.model.has_prognosis("y")
    assert world.model.is_event("y")
    assert world.model.prognosis("y", None, None).tolist() == [[0.0]]


def test_kernels_do_not_write_to_the_cohort(twins: Any) -> None:
    outcome = {"dist": "weibull", "shape": 1.2, "median": "1 year", "prognostic": {"age": {"hr": 1.2, "per": "10 years"}, "marker": {"hr": 2.0}}}
    world = twins(outcome, {"experimental": {"hr": {"by": {"covariate": "region", "values": {"asia": 0.5, "europe": 1, "america": 1}}}}})
    cohort = world.cohort(BLOCK, N)
    before = copy.deepcopy(cohort)
    world.model.event_time("y", streams=world.streams, block=BLOCK, n=N, cohort=cohort, arm=0)
    world.model.survival("y", 0, 100.0, cohort)
    world.model.prognosis("y", None, cohort)
    for name, column in before.columns.items():
        assert torch.equal(column.nan_to_num(-9), cohort.columns[name].nan_to_num(-9))


def test_outcomes_that_cannot_run_are_refused_when_asked_for(twins: Any) -> None:
    world = twins({"model": "pkpd"})
    with pytest.raises(NotSupportedError, match='not supported yet: outcome "y"'):
        world.values("w12")
    with pytest.raises(ProtocolError, match='"z" is not an outcome; allowed: y'):
        world.model.survival("z", 0, 1.0)
    with pytest.raises(ProtocolError, match='outcome "y" is not an event time'):
        twins({"dist": "normal", "mean": 0, "sd": 1}).times()


def test_a_twin_model_survives_pickling(twins: Any) -> None:
    world = twins(
        {"dist": "piecewise_exponential", "pieces": [{"until": "1 month", "rate": "0.1 / month"}, {"rate": "0.2 / month"}]}, {"experimental": {"hr": 0.7}}
    )
    times = world.times()
    world.model = pickle.loads(pickle.dumps(world.model))
    assert torch.equal(world.times(), times)
