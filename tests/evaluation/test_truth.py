"""True values against closed forms, quadrature of the limiting score, and a Cox fit by lifelines."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter
from scipy import integrate, optimize

from trialsim.evaluation.truth import (
    TrueValue,
    TwinSampler,
    cox_limit,
    in_null_beyond,
    in_null_hypothesis,
    sampled_log_hazard_ratio,
    true_log_hazard_ratio,
    true_mean_difference,
)
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

ACCRUAL, CUT, N = 300.0, 700.0, 400
RATE = math.log(2) / 365.25


class Marker:
    """A cohort with a 0/1 marker of prevalence one half."""

    names = ("marker",)
    levels: dict[str, tuple[str, ...]] = {}  # noqa: RUF012
    units = {"marker": ""}  # noqa: RUF012

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        return Cohort({"marker": (streams("covariate/marker").uniform(block, n) < 0.5).double()})


def setting(outcome: dict[str, Any], effect: dict[str, Any] | None, seed: int = 5) -> tuple[TwinModel, TwinSampler]:
    truth = Truth.model_validate({"outcomes": {"y": outcome}, "effects": {"test": {"y": effect}} if effect else {}})
    model = TwinModel(truth, arms=("reference", "test"), visits={"w12": 84.0}, cohort=Marker())
    streams = Streams(seed)
    entry = ((torch.arange(N, dtype=torch.float64) + 0.5) * (ACCRUAL / N))[None]
    return model, TwinSampler(streams, N, lambda block: entry, lambda block: Marker().sample(streams, block, N))


def hazard_ratio(
    outcome: dict[str, Any],
    effect: dict[str, Any] | None,
    *,
    sampled: bool = True,
    cut: float = CUT,
    weights: tuple[float, float] = (1.0, 1.0),
    n: int = 200_000,
) -> TrueValue:
    model, sampler = setting(outcome, effect)
    function = sampled_log_hazard_ratio if sampled else true_log_hazard_ratio
    value = function(model, ["y"], test=1, reference=0, sampler=sampler, cut_time=cut, weights=weights, n_twins=n)
    assert value is not None
    return value


def limit(survival: Any, density: Any, weights: tuple[float, float], cut: float = CUT, corners: tuple[float, ...] = ()) -> float:
    """beta at which the limiting score is zero, by quadrature; entry uniform over accrual. survival(a, t), density(a, t) by arm."""

    def followed(t: float) -> float:
        return min(1.0, max(0.0, (cut - t) / ACCRUAL)) if cut >= ACCRUAL else max(0.0, 1 - t / cut)

    def score(beta: float) -> float:
        def integrand(t: float) -> float:
            risk = [weights[1] * survival(0, t), weights[0] * survival(1, t) * math.exp(beta)]
            share = risk[1] / (risk[0] + risk[1])
            return followed(t) * (weights[0] * density(1, t) * (1 - share) - weights[1] * density(0, t) * share)

        points = sorted({0.0, *corners, max(cut - ACCRUAL, 0.0), cut})
        return sum(integrate.quad(integrand, low, high)[0] for low, high in itertools.pairwise(points))

    return float(optimize.brentq(score, -3, 3, xtol=1e-10))


def test_constant_hazard_ratio_is_exact_and_the_twins_agree_within_3_mcse() -> None:
    outcome, effect = {"dist": "weibull", "shape": 1.3, "median": "1 year"}, {"hr": 0.7}
    assert hazard_ratio(outcome, effect, sampled=False) == TrueValue(math.log(0.7))
    twins = hazard_ratio(outcome, effect)
    assert 0 < twins.mcse < 0.005
    assert twins.n == 200_000
    assert abs(twins.value - math.log(0.7)) < 3 * twins.mcse


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0)])
def test_delayed_effect_is_the_root_of_the_limiting_score(weights: tuple[float, float]) -> None:
    delay, ratio = 120.0, 0.5
    twins = hazard_ratio({"dist": "exponential", "median": "12 months"}, {"hr": [{"until": "120 days", "value": 1.0}, {"value": ratio}]}, weights=weights)

    def hazard(arm: int, t: float) -> float:
        return RATE * (ratio if arm and t > delay else 1.0)

    def survival(arm: int, t: float) -> float:
        return math.exp(-RATE * (min(t, delay) + (ratio if arm else 1.0) * max(t - delay, 0.0)))

    expected = limit(survival, lambda arm, t: hazard(arm, t) * survival(arm, t), weights, corners=(delay,))
    assert abs(twins.value - expected) < 3 * twins.mcse
    assert abs(twins.value - math.log(ratio)) > 20 * twins.mcse


def test_a_strong_covariate_pulls_the_marginal_hazard_ratio_to_one() -> None:
    outcome = {"dist": "exponential", "median": "12 months", "prognostic": {"marker": {"hr": 8.0}}}
    twins = hazard_ratio(outcome, {"hr": 0.5}, sampled=False)

    def survival(arm: int, t: float) -> float:
        return sum(0.5 * math.exp(-RATE * x * 0.5**arm * t) for x in (1.0, 8.0))

    def density(arm: int, t: float) -> float:
        return sum(0.5 * RATE * x * 0.5**arm * math.exp(-RATE * x * 0.5**arm * t) for x in (1.0, 8.0))

    expected = limit(survival, density, (1.0, 1.0))
    assert twins.mcse > 0
    assert abs(twins.value - expected) < 3 * twins.mcse
    assert twins.value - math.log(0.5) > 20 * twins.mcse


def test_equal_effects_are_exactly_null_whatever_the_covariates() -> None:
    outcome = {"dist": "exponential", "median": "12 months", "prognostic": {"marker": {"hr": 8.0}}}
    assert hazard_ratio(outcome, {"hr": [{"until": "0 days", "value": 0.5}, {"value": 1.0}]}, sampled=False) == TrueValue(0.0)
    assert abs(hazard_ratio(outcome, None, n=20_000).value) < 1e-12


def two_events(first: float, second: float) -> tuple[TwinModel, TwinSampler]:
    outcomes = {"a": {"dist": "exponential", "median": "12 months"}, "b": {"dist": "exponential", "median": "6 months"}}
    truth = Truth.model_validate({"outcomes": outcomes, "effects": {"test": {"a": {"hr": first}, "b": {"hr": second}}}})
    return TwinModel(truth, arms=("reference", "test")), setting(outcomes["a"], None)[1]


def test_the_first_of_two_events_has_the_weighted_hazard_ratio() -> None:
    """Constant cause-specific hazards: the ratio of their sums, here (0.5 + 2 * 0.8) / 3, constant in time."""
    model, sampler = two_events(0.5, 0.8)
    value = true_log_hazard_ratio(model, ["a", "b"], test=1, reference=0, sampler=sampler, cut_time=CUT, n_twins=200_000)
    assert value is not None
    assert abs(value.value - math.log(2.1 / 3)) < 3 * value.mcse
    model, sampler = two_events(0.6, 0.6)
    assert true_log_hazard_ratio(model, ["a", "b"], test=1, reference=0, sampler=sampler, cut_time=CUT) == TrueValue(math.log(0.6))
    model, sampler = two_events(1.0, 1.0)
    assert true_log_hazard_ratio(model, ["a", "b"], test=1, reference=0, sampler=sampler, cut_time=CUT) == TrueValue(0.0)


def test_patients_who_enter_after_the_cut_are_not_followed() -> None:
    value = hazard_ratio({"dist": "exponential", "median": "12 months"}, {"hr": 0.7}, cut=150.0, n=40_000)
    assert value.n == 20_000


def test_no_event_in_an_arm_is_no_value() -> None:
    model, sampler = setting({"dist": "exponential", "rate": "0 / day"}, {"hr": [{"until": "1 day", "value": 1.0}, {"value": 0.5}]})
    assert true_log_hazard_ratio(model, ["y"], test=1, reference=0, sampler=sampler, cut_time=CUT, n_twins=1000) is None


def test_estimate_and_cluster_sandwich_are_lifelines() -> None:
    """Two hundred twins, both arms in one weighted data set, clustered by twin."""
    rng = np.random.default_rng(3)
    noise, follow_up = rng.exponential(size=200), rng.uniform(100, 700, 200)
    reference, test = noise / RATE, (noise / RATE / 0.6) ** 1.1
    value = cox_limit(test, reference, follow_up, weights=(2.0, 1.0))
    assert value is not None
    table = pd.DataFrame(
        {
            "time": np.concatenate([np.minimum(reference, follow_up), np.minimum(test, follow_up)]),
            "event": np.concatenate([reference <= follow_up, test <= follow_up]),
            "z": np.repeat([0.0, 1.0], 200),
            "weight": np.repeat([1.0, 2.0], 200),
            "twin": np.tile(np.arange(200), 2),
        }
    )
    fit = CoxPHFitter().fit(table, "time", "event", weights_col="weight", cluster_col="twin", robust=True)
    assert value.value == pytest.approx(float(fit.params_["z"]), abs=1e-6)
    assert value.mcse == pytest.approx(float(fit.standard_errors_["z"]), rel=1e-5)


def test_the_mcse_is_the_spread_over_independent_runs() -> None:
    """Forty runs of 4,000 twins: the SD of 40 has a relative error of 11 %, so within 35 %."""
    outcome, effect = {"dist": "exponential", "median": "12 months"}, {"hr": [{"until": "120 days", "value": 1.0}, {"value": 0.5}]}
    values = []
    for seed in range(40):
        model, sampler = setting(outcome, effect, seed=seed)
        value = sampled_log_hazard_ratio(model, ["y"], test=1, reference=0, sampler=sampler, cut_time=CUT, n_twins=4000)
        assert value is not None
        values.append(value)
    spread = float(np.std([value.value for value in values], ddof=1))
    assert spread == pytest.approx(float(np.mean([value.mcse for value in values])), rel=0.35)


def test_block_size_does_not_change_the_value() -> None:
    model, sampler = setting({"dist": "exponential", "median": "12 months"}, {"hr": [{"until": "120 days", "value": 1.0}, {"value": 0.5}]})
    small = TwinSampler(sampler.streams, N, sampler.entry_times, sampler.cohort, block_size=7)
    values = [true_log_hazard_ratio(model, ["y"], test=1, reference=0, sampler=source, cut_time=CUT, n_twins=20_000) for source in (sampler, small)]
    assert values[0] == values[1]


def test_a_constant_difference_is_exact_and_a_difference_by_category_is_its_average() -> None:
    model, sampler = setting({"dist": "normal", "mean": 1, "sd": 2}, {"difference": -0.4})
    assert true_mean_difference(model, "y", "w12", test=1, reference=0, sampler=sampler) == TrueValue(-0.4)
    model, sampler = setting({"dist": "normal", "mean": 1, "sd": 2}, {"difference": {"by": {"covariate": "marker", "values": {1: 3, 0: 1}}}})
    value = true_mean_difference(model, "y", "w12", test=1, reference=0, sampler=sampler, n_twins=100_000)
    assert value.n == 100_000
    assert value.mcse == pytest.approx(1.0 / math.sqrt(100_000), rel=0.01)
    assert abs(value.value - 2.0) < 3 * value.mcse


@pytest.mark.parametrize(
    ("true", "rule", "expected"),
    [
        (TrueValue(0.0), {"benefit": -1}, True),
        (TrueValue(-0.1), {"benefit": -1}, False),
        (TrueValue(0.1), {"benefit": -1}, True),
        (TrueValue(0.1), {"benefit": 1}, False),
        (TrueValue(0.001, 0.001, 10**6), {"benefit": -1}, False),
        (TrueValue(0.004, 0.001, 10**6), {"benefit": -1}, True),
        (TrueValue(0.0), {"benefit": -1, "sides": 2}, True),
        (TrueValue(0.1), {"benefit": -1, "sides": 2}, False),
        (TrueValue(0.0, 0.001, 10**6), {"benefit": -1, "sides": 2}, False),
        (TrueValue(0.0), {"benefit": -1, "margin": math.log(1.3)}, False),
        (TrueValue(math.log(1.3)), {"benefit": -1, "margin": math.log(1.3)}, True),
        (TrueValue(-2.0), {"benefit": 1, "margin": -2.0}, True),
        (TrueValue(-1.5), {"benefit": 1, "margin": -2.0}, False),
    ],
)
def test_null_is_the_side_of_harm_exactly_or_by_3_mcse(true: TrueValue, rule: dict[str, Any], expected: bool) -> None:
    assert in_null_hypothesis(true, **rule) is expected


@pytest.mark.parametrize(
    ("value", "mcse", "expected"),
    [(0.0, 0.0, False), (-0.3, 0.0, True), (0.3, 0.0, True), (0.5, 0.0, True), (-0.29, 0.0, False), (0.301, 0.001, False), (0.304, 0.001, True)],
)
@pytest.mark.parametrize("benefit", [1, -1])
def test_arms_are_not_equivalent_beyond_either_edge(value: float, mcse: float, expected: bool, benefit: int) -> None:
    edges = (-benefit * 0.3, benefit * 0.3)
    assert in_null_beyond(TrueValue(value, mcse, 10**6 if mcse else 0), edges, benefit=benefit) is expected
