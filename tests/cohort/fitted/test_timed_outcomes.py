"""Prognosis that changes with time: the map of scores against an inverted hazard, and a known early effect found again."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from trialsim.cohort.fitted import FittedCohort, fit_table
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.timed_outcomes import FEWEST, Phases, TimedOutcomes, _ends, _Regression
from trialsim.cohort.population import EventColumns
from trialsim.data import Card, read_table


class _One:
    """A predictor of patients with one standardised covariate, all of one arm."""

    def __init__(self, x: torch.Tensor):
        self.x = x

    def weigh(self, terms, weights):
        return self.x * weights[0]

    def by_arm(self, numbers):
        return torch.full_like(self.x, next(iter(numbers.values())))


def test_a_score_is_mapped_to_the_time_that_the_phases_have():
    """Against the proportional model's time at the mapped score: H₀(t) from S(t) = exp(−Σ_p ∫ dH₀ e^{lp + c_p + x δ_p}), by root finding."""
    terms = (Term("x", "linear", (), 0.0, 1.0),)
    phases = Phases({"a": (0.3, 0.9)}, (0.2, -0.1, 0.0), terms, ((0.8,), (0.0,), (-0.5,)), ({"a": 0.0},) * 3, (0.5, 0.0, 0.5))
    rng = np.random.default_rng(1)
    score, x, log_hr = (rng.normal(size=200) * sd for sd in (1.5, 1.0, 0.5))
    mapped = phases.score(torch.from_numpy(score), torch.from_numpy(log_hr), _One(torch.from_numpy(x))).numpy()
    ends, levels, slopes = np.array([0.0, 0.3, 0.9, 1e9]), np.array(phases.levels), np.array([0.8, 0.0, -0.5])
    for z, covariate, lp, found in zip(score, x, log_hr, mapped, strict=True):

        def reached(h, covariate=covariate, lp=lp):
            return (np.clip(h - ends[:-1], 0, np.diff(ends)) * np.exp(lp + levels + covariate * slopes)).sum()

        hazard = brentq(lambda h, z=z, reached=reached: reached(h) + norm.logcdf(z), 0.0, 1e6)
        assert -norm.logcdf(found) == pytest.approx(hazard * np.exp(lp), rel=1e-9, abs=1e-12)


def test_without_effects_the_score_stays():
    phases = Phases({"a": (0.5,)}, (0.0, 0.0), (Term("x", "linear", (), 0.0, 1.0),), ((0.0,), (0.0,)), ({"a": 0.0},) * 2, (0.0, 0.0))
    score = torch.linspace(-7, 7, 201, dtype=torch.float64)
    found = phases.score(score, torch.linspace(-1, 1, 201, dtype=torch.float64), _One(torch.ones(201, dtype=torch.float64)))
    torch.testing.assert_close(found, score, rtol=0, atol=1e-9)


def test_the_likelihood_has_the_derivatives_it_says():
    rng = np.random.default_rng(2)
    came = (rng.random(300) < 0.6).astype(float)
    jump = np.where((rng.random(300) < 0.4) & (came == 1), rng.gamma(2, 1, 300), 0.0)
    regression = _Regression(rng.normal(size=(300, 2)), rng.gamma(1, 0.5, 300), jump, came)
    theta, step = np.array([0.1, -0.3, 0.2]), 1e-5
    _, slope, information = regression.log_likelihood(theta)
    for place in range(3):
        up, down = theta.copy(), theta.copy()
        up[place] += step
        down[place] -= step
        high, low = regression.log_likelihood(up), regression.log_likelihood(down)
        assert slope[place] == pytest.approx((high[0] - low[0]) / (2 * step), rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(information[place], -(high[1] - low[1]) / (2 * step), rtol=1e-5, atol=1e-5)


def test_phases_are_long_enough():
    times = np.arange(1.0, 101.0)
    assert _ends(np.array([0.0, 20.0, 50.0, 90.0]), times, (0.2, 0.5, 0.9)) == (50.0,)
    assert _ends(np.array([0.0, 50.0]), times[: FEWEST - 1], (0.5,)) == ()
    assert _ends(np.array([0.0]), times, (0.5,)) == ()


@pytest.fixture(scope="module")
def early(tmp_path_factory) -> tuple[FittedCohort, np.ndarray, np.ndarray]:
    """3,000 patients: x triples the hazard of the first year (per SD), then does nothing; loss to follow-up after w in the first year only."""
    rng = np.random.default_rng(3)
    n = 3000
    x, w = rng.normal(size=n), rng.normal(size=n)
    need = rng.exponential(size=n)
    first = 365 * 0.0008 * np.exp(1.1 * x)
    time = np.where(need < first, need / (0.0008 * np.exp(1.1 * x)), 365 + (need - first) / 0.0008)
    leave = rng.exponential(size=n) / (0.0008 * np.exp(1.0 * w))
    end = np.where(leave < 365, leave, rng.uniform(700, 1100, n))
    path = tmp_path_factory.mktemp("early") / "d.csv"
    rows = np.stack((x, w, np.minimum(time, end) + 1, time <= end), axis=1)
    path.write_text("x,w,days,died\n" + "".join(f"{a:.3f},{b:.3f},{c:.0f},{d:.0f}\n" for a, b, c, d in rows))
    table = read_table(path, Card.model_validate({"id": "d", "title": "d", "source": "d", "licence": "CC0", "purposes": ["simulate"]}))
    model = fit_table(table, outcomes={"death": EventColumns(time="days", event="died")}, on=date(2026, 6, 1))
    return model, rows, np.stack([model.synthesise(60_000, seed=1).columns[name] for name in ("x", "w", "days", "died")], axis=1)


def test_an_early_effect_is_early(early):
    """log HR per SD of x in the first year and later: 1.1 and 0 in the law; shrinkage leaves most of it."""
    model, real, drawn = early
    assert isinstance(model.outcomes, TimedOutcomes)
    assert set(model.outcomes.phases) == {("event", "death"), ("censoring", "death")}
    for kind, column, happened in (("event", 0, 1), ("censoring", 1, 0)):
        for start, end in ((0, 365), (400, 690)):
            effects = []
            for data in (real, drawn):
                inside = (data[:, 2] > start) & (data[:, 2] <= end) & (data[:, 3] == happened)
                exposed = np.clip(data[:, 2], start, end) - start
                # Poisson regression on one covariate, by Newton's method
                a = b = 0.0
                a = np.log(inside.sum() / exposed.sum() + 1e-12)
                for _ in range(30):
                    rate = exposed * np.exp(a + b * data[:, column])
                    g = np.array([(inside - rate).sum(), ((inside - rate) * data[:, column]).sum()])
                    h = np.array([[rate.sum(), (rate * data[:, column]).sum()], [(rate * data[:, column]).sum(), (rate * data[:, column] ** 2).sum()]])
                    a, b = np.array([a, b]) + np.linalg.solve(h + 1e-9 * np.eye(2), g)
                effects.append((b, inside.sum()))
            if effects[0][1] < 50:
                continue
            (truth, n), (found, _) = effects
            assert abs(found - truth) < 0.1 + 4 / np.sqrt(n), (kind, start)


def test_pairwise_correlations_with_time_are_kept(early):
    _, real, drawn = early
    error = np.abs(np.corrcoef(real.T) - np.corrcoef(drawn.T))
    assert error.max() < 0.03 + 4 / np.sqrt(3000)


def test_a_file_keeps_the_phases(early, tmp_path):
    model = early[0]
    model.save(tmp_path / "m")
    again = FittedCohort.load(tmp_path / "m")
    assert isinstance(again.outcomes, TimedOutcomes)
    assert again.outcomes.phases == model.outcomes.phases
    np.testing.assert_array_equal(again.synthesise(200, seed=1).columns["days"], model.synthesise(200, seed=1).columns["days"])
