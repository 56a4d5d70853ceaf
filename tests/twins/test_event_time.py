"""Event times against an inverse written as a walk through time, and the promises of addressed noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.rng import Block

MONTH = 30.4375
WEIBULL = {"dist": "weibull", "shape": 1.2, "median": "12 months"}
EXPONENTIAL = {"dist": "exponential", "median": "12 months"}
STEPS = {
    "dist": "piecewise_exponential",
    "pieces": [{"until": "2 months", "rate": "0.1 / month"}, {"until": "9 months", "rate": "0.03 / month"}, {"rate": "0.2 / month"}],
}
PROGNOSTIC = {"ecog": {"hr": 1.5, "level": "1"}, "age": {"hr": 1.2, "per": "10 years", "center": "60 years"}}
DELAYED = {"hr": [{"until": "3 months", "value": 1.0}, {"until": "8 months", "value": 0.4}, {"value": 0.8}]}
BY = {"hr": {"by": {"covariate": "region", "values": {"asia": 0.4, "europe": 1.0, "america": 2.0}}}}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (EXPONENTIAL, {"experimental": {"hr": 0.7}}),
    (EXPONENTIAL, {"experimental": DELAYED}),
    ({**WEIBULL, "prognostic": PROGNOSTIC}, {"experimental": DELAYED, "third": {"hr": 0.5}}),
    ({**WEIBULL, "prognostic": PROGNOSTIC}, {"experimental": BY, "third": DELAYED}),
    ({**STEPS, "prognostic": PROGNOSTIC}, {"experimental": BY, "third": {"hr": {"by": {"covariate": "marker", "values": {1: 0.3, 0: 0.9}}}}}),
    ({"dist": "lognormal", "median": "9 months", "sd_log": 1.1}, {"experimental": DELAYED}),
    ({"dist": "gamma", "mean": "9 months", "shape": 2}, {"experimental": {"hr": 0.7}}),
    ({"dist": "cure_mixture", "cured": 0.3, "uncured": WEIBULL}, {"experimental": DELAYED}),
    ({"dist": "loglogistic", "median": "9 months", "shape": 1.5, "prognostic": PROGNOSTIC}, {"experimental": {"hr": 0.7}}),
    ({"dist": "gompertz", "shape": "0.3 / year", "rate": "0.3 / year"}, {"experimental": DELAYED}),
]
ids = [f"{outcome['dist']}-{i}" for i, (outcome, _) in enumerate(CASES)]


def test_hazard_pieces_are_inverted_as_a_walk_through_time(twins: Any) -> None:
    """T solves H_arm(T) = E exp(-eta): step along the merged breaks, spending the exponential."""
    block, n = Block(3, 2), 50
    world = twins({**STEPS, "prognostic": PROGNOSTIC}, {"experimental": DELAYED})
    times = world.times(0, block, n).numpy()
    noise = world.streams("outcome/y").exponential(block, n).numpy()
    cohort = world.cohort(block, n)
    ecog, age = cohort.columns["ecog"].numpy(), cohort.columns["age"].numpy()
    corners = [2 * MONTH, 3 * MONTH, 8 * MONTH, 9 * MONTH, math.inf]

    def hazard(t: float) -> float:
        rate = 0.1 if t < 2 * MONTH else 0.03 if t < 9 * MONTH else 0.2
        ratio = 1.0 if t < 3 * MONTH else 0.4 if t < 8 * MONTH else 0.8
        return rate / MONTH * ratio

    for r in range(2):
        for i in range(n):
            individual = 1.5 ** (ecog[r, i] == 1) * 1.2 ** ((age[r, i] / 365.25 - 60) / 10)
            left, start = noise[r, i], 0.0
            for corner in corners:
                rate = hazard(start) * individual
                if left <= rate * (corner - start):
                    break
                left, start = left - rate * (corner - start), corner
            assert times[r, i] == pytest.approx(start + left / rate, rel=1e-10)


@pytest.mark.parametrize(("outcome", "effects"), CASES, ids=ids)
def test_the_event_time_exhausts_the_exponential(twins: Any, outcome: dict[str, Any], effects: dict[str, Any]) -> None:
    """S_arm(T) = exp(-E): the survival function, coded apart from the inverse, at the drawn time."""
    world, block, n = twins(outcome, effects), Block(0, 20), 150
    cohort = world.cohort(block, n)
    survived = torch.exp(-world.streams("outcome/y").exponential(block, n))
    for arm in range(3):
        times = world.times(arm)
        finite = torch.isfinite(times)
        survival = world.model.survival("y", arm, torch.where(finite, times, 0.0), cohort)
        torch.testing.assert_close(survival[finite], survived[finite], rtol=1e-9, atol=1e-14)
        assert finite.all() or outcome["dist"] == "cure_mixture"


@pytest.mark.parametrize(("outcome", "effects"), CASES, ids=ids)
def test_the_assigned_outcome_is_the_counterfactual_one_bit_for_bit(twins: Any, outcome: dict[str, Any], effects: dict[str, Any]) -> None:
    world = twins(outcome, effects)
    arm = world.assigned(Block(0, 20), 150)
    assert set(arm.unique().tolist()) == {0, 1, 2}
    counterfactual = torch.stack([world.times(index) for index in range(3)])
    assert torch.equal(world.times(arm), counterfactual.gather(0, arm.long()[None])[0])
    assert torch.equal(world.times(arm.long()), world.times(arm))


@pytest.mark.parametrize(("outcome", "effects"), CASES, ids=ids)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_no_bit_depends_on_the_block(twins: Any, outcome: dict[str, Any], effects: dict[str, Any], size: int) -> None:
    world, n = twins(outcome, effects), 131
    whole = world.times(block=Block(5, 70), n=n)
    parts = [world.times(block=Block(first, min(size, 75 - first)), n=n) for first in range(5, 75, size)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(("outcome", "effects"), CASES, ids=ids)
def test_scenarios_share_their_noise(twins: Any, outcome: dict[str, Any], effects: dict[str, Any]) -> None:
    """What the experimental arm does leaves the arm without an effect as it is, to the last bit; more patients change nobody."""
    plain = twins(outcome)
    assert torch.equal(twins(outcome, effects).times(1), plain.times(1))
    assert torch.equal(twins(outcome, {"experimental": {"hr": 0.31}}).times(1), plain.times(0))
    assert torch.equal(plain.times(1, n=150)[:, :100], plain.times(1, n=100))


def test_pieces_of_length_zero_and_ratios_of_one_do_nothing(twins: Any) -> None:
    outcome = {**WEIBULL, "prognostic": PROGNOSTIC}
    constant = twins(outcome, {"experimental": {"hr": 0.6}})
    for pieces in (
        [{"until": "0 months", "value": 9.0}, {"value": 0.6}],
        [{"until": "5 months", "value": 0.6}, {"until": "5 months", "value": 7.0}, {"value": 0.6}],
    ):
        assert torch.equal(twins(outcome, {"experimental": {"hr": pieces}}).times(0), constant.times(0))
    null = twins(outcome, {"experimental": {"hr": [{"until": "0 months", "value": 0.5}, {"until": "3 months", "value": 1.0}, {"value": 1.0}]}})
    assert null.model.effect_is_identity("y", 0, 1)
    assert torch.equal(null.times(0), null.times(1))


def test_a_category_has_its_own_hazard_ratio_and_a_missing_one_has_none(twins: Any) -> None:
    world = twins(EXPONENTIAL, {"experimental": {"hr": {"by": {"covariate": "marker", "values": {1: 0.25, 0: 0.5}}}}})
    marker = world.cohort(Block(0, 20), 150).columns["marker"]
    ratio = world.times(1) / world.times(0)
    expected = torch.where(torch.isnan(marker), 1.0, torch.where(marker == 1, 0.25, 0.5)).double()
    assert torch.isnan(marker).any()
    torch.testing.assert_close(ratio, expected, rtol=1e-14, atol=0)


def test_drawn_times_follow_the_delayed_law(twins: Any) -> None:
    """KS of 6,400 times against the survival function worked out by hand; p above 0.001 at a fixed seed."""
    world = twins(EXPONENTIAL, {"experimental": {"hr": [{"until": "3 months", "value": 1.0}, {"value": 0.5}]}}, seed=3)
    rate, delay = math.log(2) / 365.25, 3 * MONTH
    times = world.times(0, Block(0, 100), 64).numpy().ravel()
    result = stats.kstest(times, lambda t: 1 - np.exp(-rate * (np.minimum(t, delay) + 0.5 * np.maximum(t - delay, 0))))
    assert result.pvalue > 0.001


def test_survival_broadcasts_over_patients_and_averages_to_the_share_alive(twins: Any) -> None:
    """Tolerance 4 MCSE of a share of 20,000."""
    world, block, n = twins({**WEIBULL, "prognostic": PROGNOSTIC}, {"experimental": DELAYED}), Block(0, 100), 200
    cohort = world.cohort(block, n)
    survival = world.model.survival("y", 0, 400.0, cohort)
    assert survival.shape == (100, 200)
    assert float(survival.mean()) == pytest.approx(float((world.times(0, block, n) > 400).double().mean()), abs=4 * 0.5 / math.sqrt(20000))
    follow_up = torch.linspace(0, 700, 200, dtype=torch.float64)
    torch.testing.assert_close(world.model.survival("y", 0, follow_up, cohort)[:, 60], world.model.survival("y", 0, float(follow_up[60]), cohort)[:, 60])
    assert world.model.survival("y", 1, 0.0, cohort).unique().tolist() == [1.0]
