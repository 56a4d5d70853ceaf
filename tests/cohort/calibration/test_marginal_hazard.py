"""The baseline hazard that gives a population its curve, against the integral done by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from trialsim.cohort.calibration.marginal_hazard import baseline_hazards


def test_without_prognosis_nothing_moves():
    breaks, hazards = np.array([10.0, 50.0]), np.array([0.01, 0.0, 0.03])
    np.testing.assert_allclose(baseline_hazards(breaks, hazards, np.zeros(5)), hazards, rtol=1e-12, atol=1e-15)


def test_a_normal_prognosis_meets_the_curve_at_every_break():
    """400 quantiles of a normal log hazard ratio stand for the population; the survival they have is integrated again by quadrature."""
    breaks, hazards = np.array([30.0, 90.0, 365.0]), np.array([0.002, 0.004, 0.001, 0.0005])
    sd = 0.8
    ratios = stats.norm.ppf((np.arange(400) + 0.5) / 400, scale=sd)
    solved = baseline_hazards(breaks, hazards, ratios)
    ends = np.append(breaks, 730.0)
    reached = np.cumsum(solved * np.diff(ends, prepend=0.0))
    wanted = np.exp(-np.cumsum(hazards * np.diff(ends, prepend=0.0)))
    for cumulative, target in zip(reached, wanted, strict=True):
        mean, _ = integrate.quad(lambda x, c=cumulative: np.exp(-c * np.exp(x)) * stats.norm.pdf(x, scale=sd), -8, 8)
        assert mean == pytest.approx(target, abs=3e-4)  # the quantiles' own error
        assert np.exp(-cumulative * np.exp(ratios)).mean() == pytest.approx(target, abs=1e-12)


def test_a_wide_spread_and_a_long_curve_are_solved():
    solved = baseline_hazards(np.array([1.0, 1e4]), np.array([1e-6, 1e-3, 1e-3]), np.linspace(-6, 6, 101))
    assert np.isfinite(solved).all()
    assert (solved > 0).all()


def test_a_ratio_without_a_number_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        baseline_hazards(np.array([1.0]), np.array([0.1, 0.1]), np.array([np.nan]))
