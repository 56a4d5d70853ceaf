"""Crossing probabilities against multivariate normal rectangles, plain simulation and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from trialsim.design.integration import Continuing, crossing_probabilities


def rectangle(information: list[float], mean_z: np.ndarray, low: list[float], high: list[float]) -> float:
    """P(low < Z < high) of the first looks by SciPy's multivariate normal distribution function."""
    t = np.asarray(information[: len(low)])
    covariance = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    return float(
        multivariate_normal.cdf(np.asarray(high), mean_z[: len(low)], covariance, lower_limit=np.asarray(low), abseps=1e-9, releps=1e-9, maxpts=400_000, rng=1)
    )


@pytest.mark.parametrize("mean_z", [[0.0, 0.0, 0.0], [1.1, 1.7, 2.0], [-0.5, 1.0, 2.5]])
def test_crossing_agrees_with_multivariate_normal_rectangles(mean_z):
    information, upper, lower = [0.3, 0.7, 1.0], [2.5, 2.2, 2.0], [-0.5, 0.5, 2.0]
    crossing = crossing_probabilities(information=information, upper=upper, lower=lower, mean_z=mean_z)
    far, means = 12.0, np.asarray(mean_z)
    for look in range(3):
        above = rectangle(information, means, [*lower[:look], upper[look]], [*upper[:look], far])
        below = rectangle(information, means, [*lower[:look], -far], [*upper[:look], lower[look]])
        assert crossing.upper[look] == pytest.approx(above, abs=3e-8)
        assert crossing.lower[look] == pytest.approx(below, abs=3e-8)
    assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(1.0, abs=1e-13)


def test_crossing_agrees_with_simulation_of_five_looks():
    information = np.array([0.15, 0.4, 0.55, 0.9, 1.0])
    upper, lower, drift, n = [3.0, 2.6, 2.4, 2.1, 2.05], [-1.0, 0.0, -np.inf, 0.8, 2.05], 1.8, 400_000
    rng = np.random.default_rng(20)
    steps = rng.normal(size=(n, 5)) * np.sqrt(np.diff(information, prepend=0.0))
    z = (np.cumsum(steps, axis=1) + drift * information) / np.sqrt(information)
    up, down = z >= upper, z < lower
    first = np.argmax(up | down, axis=1)
    crossing = crossing_probabilities(information=information, upper=upper, lower=lower, drift=drift)
    for look in range(5):
        for exact, simulated in (
            (crossing.upper[look], np.mean(up[np.arange(n), look] & (first == look))),
            (crossing.lower[look], np.mean(down[np.arange(n), look] & (first == look))),
        ):
            assert abs(simulated - exact) <= 4 * math.sqrt(max(exact * (1 - exact), 1 / n) / n)


def test_one_look_is_the_normal_tail():
    crossing = crossing_probabilities(information=[0.4], upper=[1.96], lower=[-1.0], drift=2.0)
    mean = 2.0 * math.sqrt(0.4)
    assert crossing.upper[0] == pytest.approx(float(ndtr(mean - 1.96)), rel=1e-14)
    assert crossing.lower[0] == pytest.approx(float(ndtr(-1.0 - mean)), rel=1e-14)


def test_only_ratios_of_information_matter():
    whole = crossing_probabilities(information=[0.5, 1.0], upper=[2.2, 2.1], mean_z=[1.0, 1.5])
    early = crossing_probabilities(information=[0.2, 0.4], upper=[2.2, 2.1], mean_z=[1.0, 1.5])
    assert whole.upper == pytest.approx(early.upper, rel=1e-12)


def test_missing_bounds_stop_nothing():
    crossing = crossing_probabilities(information=[0.3, 0.6, 1.0], upper=[math.nan, math.inf, 1.7], lower=[math.nan, -math.inf, math.nan], drift=2.5)
    assert crossing.upper == pytest.approx([0.0, 0.0, float(ndtr(2.5 - 1.7))], abs=1e-13)
    assert crossing.stop == pytest.approx([0.0, 0.0, 1.0])


def test_equal_bounds_stop_everyone():
    crossing = crossing_probabilities(information=[0.5, 1.0], upper=[1.0, 2.0], lower=[1.0, 2.0])
    assert crossing.upper[1] == crossing.lower[1] == 0.0
    assert crossing.stop == pytest.approx([1.0, 0.0])


def test_looks_that_nearly_coincide_keep_their_accuracy():
    """As the gap closes the second look of a pair adds nothing, at the square root of the gap."""
    without = crossing_probabilities(information=[0.5, 1.0], upper=[2.2, 2.2]).upper.sum()
    added = [crossing_probabilities(information=[0.5, 0.5 + gap, 1.0], upper=[2.2] * 3).upper.sum() - without for gap in (4e-4, 1e-4, 2.5e-5)]
    assert added[0] / added[1] == pytest.approx(2.0, rel=0.03)
    assert added[1] / added[2] == pytest.approx(2.0, rel=0.03)
    close = crossing_probabilities(information=[0.5, 0.50001, 0.50002, 1.0], upper=[2.2] * 4)
    assert close.upper.sum() == pytest.approx(0.0237974023, abs=1e-9)  # panels of three fifths the width give the same ten digits


@pytest.mark.parametrize("probability", [1e-40, 1e-12, 1e-4, 0.02, 0.4])
def test_bounds_spend_exactly_what_they_are_asked_to(probability):
    state = Continuing.start().advance(-1.0, 2.5, 0.5, 1.0, 0.7)
    upper, lower = state.upper_bound(probability, 1.0, 1.1), state.lower_bound(probability, 1.0, 1.1)
    if probability > 1e-30:  # beyond the reach of the grid the tail itself is only an order of magnitude
        assert state.above(upper, 1.0, 1.1) == pytest.approx(probability, rel=1e-9)
        assert state.below(lower, 1.0, 1.1) == pytest.approx(probability, rel=1e-9)
    assert upper > lower or probability == 0.4


def test_bounds_at_the_ends():
    state = Continuing.start()
    assert state.upper_bound(0.0, 1.0) == math.inf
    assert state.upper_bound(1.0, 1.0) == -math.inf
    assert state.lower_bound(0.0, 1.0) == -math.inf
