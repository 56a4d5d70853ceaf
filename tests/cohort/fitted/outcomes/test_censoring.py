"""The law of censoring against Kaplan–Meier, its own inverse, and known atoms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lifelines import KaplanMeierFitter

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.outcomes.censoring import FittedCensoring, fit_censoring

X = (Term("x", "linear", (), 0.0, 1.0),)


def _fit(time, event, arm=None, x=None) -> FittedCensoring:
    x = np.zeros(len(time)) if x is None else x
    arm = np.zeros(len(time), dtype=np.int64) if arm is None else arm
    found = fit_censoring(time, event, arms=("new", "old"), reference=1, arm=arm, terms=X, design=torch.from_numpy(x)[:, None])
    assert found is not None
    return found


def _draw(law: FittedCensoring, n: int) -> np.ndarray:
    h = np.random.default_rng(9).exponential(size=n)
    return law.time(torch.from_numpy(h)).numpy()


def test_it_follows_kaplan_meier_of_the_censoring():
    """Censoring piles up between days 900 and 1000; the largest distance is within 3 standard errors of the curve."""
    rng = np.random.default_rng(1)
    n = 3000
    censoring = np.where(rng.random(n) < 0.2, rng.uniform(0, 900, n), rng.normal(960, 15, n))
    death = rng.exponential(1500, n)
    time, event = np.minimum(censoring, death), (death <= censoring).astype(float)
    law = _fit(time, event, arm=np.ones(n, dtype=np.int64))
    curve = KaplanMeierFitter().fit(time, event == 0)
    grid = np.linspace(20, 1000, 50)
    distance = np.abs(curve.survival_function_at_times(grid).to_numpy() - (_draw(law, 200_000)[:, None] > grid).mean(0))
    assert distance.max() < 3 * 0.5 / np.sqrt(n)


def test_many_who_end_together_are_an_atom_and_the_last_day_ends_it():
    rng = np.random.default_rng(2)
    n = 2000
    censoring = np.where(rng.random(n) < 0.3, 200.0, 365.0)
    death = rng.exponential(800, n)
    time, event = np.minimum(censoring, death), (death <= censoring).astype(float)
    drawn = _draw(_fit(time, event, arm=np.ones(n, dtype=np.int64)), 200_000)
    assert drawn.max() == 365.0
    followed = (time >= 200) & ~((time == 200) & (event == 1))
    share = ((time == 200) & (event == 0)).sum() / followed.sum()
    assert abs((drawn == 200.0).mean() - share) < 4 * np.sqrt(share / 200_000) + 0.002
    assert (drawn == 365.0).mean() > 0.68
    assert ((drawn == 200.0) | (drawn == 365.0)).mean() > 0.999


def test_nobody_is_followed_beyond_the_rounded_longest_follow_up():
    rng = np.random.default_rng(3)
    time = rng.uniform(0, 777.3, 500)
    law = _fit(time, (rng.random(500) < 0.5).astype(float))
    drawn = _draw(law, 100_000)
    assert law.times[-1] == 780.0
    assert drawn.max() <= 780.0
    assert not np.isin(np.array(law.times), time).any()


def test_arms_and_covariates_multiply_the_hazard():
    """log HR 0.8 per x and −0.5 in the arm; SEs are near 1/√events = 0.02."""
    rng = np.random.default_rng(4)
    n = 4000
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    censoring = rng.exponential(300 * np.exp(-0.8 * x + 0.5 * (arm == 0)))
    death = rng.exponential(400, n)
    law = _fit(np.minimum(censoring, death), (death <= censoring).astype(float), arm=arm, x=x)
    assert abs(law.weights[0] - 0.8) < 0.08
    assert abs(law.arm_log_hr["new"] + 0.5) < 0.16
    assert law.arm_log_hr["old"] == 0.0


def test_time_inverts_the_cumulative_hazard():
    law = FittedCensoring((0.0, 100.0, 100.0, 300.0), (0.0, 0.5, 1.5, 2.0), {"a": 0.0}, (), (), 1.0)
    h = torch.tensor([0.25, 0.5, 0.9, 1.5, 1.75, 9.0], dtype=torch.float64)
    assert law.time(h).tolist() == [50.0, 100.0, 100.0, 100.0, 200.0, 300.0]
    np.testing.assert_allclose(law.cumulative_hazard(np.array([50.0, 100.0, 200.0])), [0.25, 0.5, 1.75])
    np.testing.assert_allclose(law.cumulative_hazard_after(np.array([50.0, 100.0, 200.0])), [0.25, 1.5, 1.75])
    assert FittedCensoring.read(law.store()) == law


def test_without_censoring_there_is_no_law():
    time = np.random.default_rng(5).exponential(10, 60)
    assert fit_censoring(time, np.ones(60), arms=("a",), reference=0, arm=np.zeros(60, dtype=np.int64), terms=(), design=torch.zeros(60, 0)) is None


@pytest.mark.parametrize("n_censored", [1, 3, 12])
def test_a_few_censored_are_enough(n_censored):
    rng = np.random.default_rng(6)
    time, event = rng.exponential(100, 200), np.ones(200)
    event[:n_censored] = 0
    law = _fit(time, event)
    assert np.isfinite(law.reached).all()
    assert (_draw(law, 1000) > 0).all()
