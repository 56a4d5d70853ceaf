"""Derivatives against differences, and breaks that are nobody's own time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.outcomes.effects import ArmDesign
from trialsim.cohort.fitted.outcomes.hazards import Follow, HazardRegression, Scales, breaks_at, equal_shares, nice_step

TERMS = (Term("x", "linear", (), 0.0, 1.0), Term("x", "bend", (0.0, 1.0, 2.0, 2.0), 0.0, 1.0))


def _regression() -> HazardRegression:
    rng = np.random.default_rng(1)
    n = 60
    design, arm = torch.from_numpy(rng.normal(size=(n, 2))), rng.integers(0, 3, n)
    arms = ArmDesign.of(arms=("a", "b", "c"), reference=1, arm=arm, terms=TERMS, design=design)
    time, event = rng.exponential(100, n), (rng.random(n) < 0.7).astype(float)
    return HazardRegression.of(Follow.of(time, event, np.array([30.0, 80.0, 150.0]), arms), arms, design, TERMS)


def test_gradient_and_information_are_those_of_the_likelihood():
    regression = _regression()
    assert regression.sizes == {"log_hazard": 4, "log_hr": 2, "weights": 2, "modifiers": 2, "levels": 0, "steps": 6}  # bends modify nothing
    rng = np.random.default_rng(2)
    theta = regression.centre() + rng.normal(scale=0.3, size=sum(regression.sizes.values()))
    _, gradient, information = regression.log_likelihood(theta)
    np.testing.assert_allclose(gradient, approx_fprime(theta, lambda at: regression.log_likelihood(at)[0], 1e-7), rtol=1e-4, atol=1e-4)
    columns = [(regression.log_likelihood(theta + 1e-6 * unit)[1] - gradient) / 1e-6 for unit in np.eye(len(theta))]
    np.testing.assert_allclose(information, -np.array(columns), rtol=1e-3, atol=1e-3)


def test_the_likelihood_is_that_of_every_patients_hazard():
    """Patient by patient: log hazard at the event minus the integral of the hazard."""
    regression = _regression()
    theta = regression.centre() + 0.2 * np.arange(len(regression.centre())) / 10
    follow, steps = regression.follow, regression.steps(theta, regression.contrasts())
    weights = theta[4 : 4 + regression.columns.shape[1]]
    total = 0.0
    for i in range(len(follow.happened)):
        hazard = np.exp(theta[:4] + steps[follow.group[i]] + regression.columns[i] @ weights)
        piece = int(np.flatnonzero(follow.exposure[i] > 0)[-1])
        total += follow.happened[i] * np.log(hazard[piece]) - follow.exposure[i] @ hazard
    assert regression.log_likelihood(theta)[0] == pytest.approx(total, rel=1e-12)


def test_an_arms_steps_average_to_zero_over_the_events():
    regression = _regression()
    theta = np.random.default_rng(3).normal(size=len(regression.centre()))
    steps = regression.steps(theta, regression.contrasts())
    share = regression.follow.events.sum(0) + 0.5
    np.testing.assert_allclose(steps @ share, 0.0, atol=1e-10)
    assert (steps[0] == 0).all()
    assert np.abs(steps[1:]).max() > 0.1


def test_scales_of_zero_leave_effects_alike():
    regression = _regression()
    mode, scales = regression.best((0.5, 0.1), (0.0,), (0.0,))
    assert scales == Scales(scales.weights, 0.0, 0.0)
    assert (mode.place[-8:] == 0).all()


@pytest.mark.parametrize("length, parts, step", [(1231, 200, 5), (1231, 400, 2), (99.0, 100, 0.5), (0.05, 200, 0.0002), (1e6, 100, 10_000)])
def test_a_nice_step(length, parts, step):
    assert nice_step(length, parts) == pytest.approx(step)


def test_no_break_is_a_value_that_one_patient_alone_has():
    rng = np.random.default_rng(4)
    for _ in range(20):
        times = rng.choice(np.arange(1, 1000), 300, replace=False).astype(float)  # every time is unique
        breaks = breaks_at(times, times.max(), shares=equal_shares(24), known=times)
        assert len(breaks) > 15
        assert not np.isin(breaks, times).any()
        assert (np.diff(breaks) > 0).all()
    shared = np.repeat(np.arange(5.0, 1000.0, 5.0), 2)
    assert np.isin(breaks_at(shared, 1000.0, shares=equal_shares(5), known=shared), shared).all()  # a shared value may be one
