"""Entropy weights against the primal problem solved by SciPy, a closed form, and targets that cannot be met."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from trialsim.cohort.calibration.entropy_balancing import balance


def test_weights_solve_the_primal_problem():
    rng = np.random.default_rng(1)
    x = np.column_stack((rng.normal(50, 10, 40), rng.random(40) < 0.4))
    targets = np.array([53.0, 0.5])
    found = balance(x, targets)
    assert found.converged
    constraints = [
        {"type": "eq", "fun": lambda w: w.sum() - 1},
        {"type": "eq", "fun": lambda w: (x[:, 0] - 50) @ w - 3},
        {"type": "eq", "fun": lambda w: x[:, 1] @ w - 0.5},
    ]
    witness = optimize.minimize(lambda w: (w * np.log(40 * w)).sum(), np.full(40, 1 / 40), bounds=[(1e-12, 1)] * 40, constraints=constraints, tol=1e-12)
    assert witness.success
    np.testing.assert_allclose(found.weights / 40, witness.x, atol=2e-6)
    np.testing.assert_allclose(np.average(x, axis=0, weights=found.weights), targets, rtol=1e-9)
    assert found.ess == pytest.approx(1 / (witness.x**2).sum(), rel=1e-4)


def test_one_share_has_a_closed_form():
    """Levels are weighted q/p, so that the effective sample size is n / (q²/p + (1 − q)²/(1 − p))."""
    x = np.repeat([0.0, 1.0], [300, 100])
    found = balance(x[:, None], np.array([0.4]))
    np.testing.assert_allclose(found.weights[[0, -1]], [0.6 / 0.75, 0.4 / 0.25])
    assert found.ess == pytest.approx(400 / (0.4**2 / 0.25 + 0.6**2 / 0.75))


def test_targets_that_hold_already_leave_the_weights_alone():
    x = np.random.default_rng(2).standard_normal((50, 3))
    found = balance(x, x.mean(0))
    np.testing.assert_allclose(found.weights, 1.0)
    assert found.ess == pytest.approx(50)


def test_a_mean_and_an_sd_together():
    x = np.random.default_rng(3).normal(100, 15, 500)
    found = balance(np.column_stack((x, x**2)), np.array([108.0, 108.0**2 + 12.0**2]))
    assert found.converged
    mean = np.average(x, weights=found.weights)
    assert mean == pytest.approx(108)
    assert np.sqrt(np.average((x - mean) ** 2, weights=found.weights)) == pytest.approx(12, rel=1e-6)


@pytest.mark.parametrize(
    "columns, targets",
    [
        ([[0.0], [1.0], [2.0]], [3.0]),  # beyond the largest
        ([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [0.6, 0.3]),  # each share can be, together they cannot: the first implies the second
        ([[5.0], [5.0], [5.0]], [6.0]),  # a constant
    ],
)
def test_targets_outside_the_hull_are_said_not_met(columns, targets):
    found = balance(np.array(columns), np.array(targets))
    assert not found.converged
    assert np.abs(found.miss).max() > 1e-6


def test_a_target_at_the_edge_is_met_by_few():
    found = balance(np.arange(100.0)[:, None], np.array([98.9999]))
    assert np.average(np.arange(100.0), weights=found.weights) == pytest.approx(98.9999)
    assert found.ess == pytest.approx(1, abs=1e-3)


def test_columns_that_follow_from_others_do_no_harm():
    x = np.random.default_rng(4).standard_normal(100)
    twice = balance(np.column_stack((x, 2 * x, np.ones(100))), np.array([0.3, 0.6, 1.0]))
    once = balance(x[:, None], np.array([0.3]))
    assert twice.converged
    np.testing.assert_allclose(twice.weights, once.weights, rtol=1e-6)
    assert not balance(np.column_stack((x, 2 * x)), np.array([0.3, 0.5])).converged
