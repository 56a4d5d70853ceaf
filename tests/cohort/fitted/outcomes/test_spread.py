"""An SD that follows the mean, and the shape of residuals, against the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort.fitted.outcomes.spread import Spread, fit_spread


def _sample(n: int = 20_000):
    """σ = 0.3 μ^0.9 (1.2 times that in the arm), residuals a standardised gamma of shape 4 (skewness 1)."""
    rng = np.random.default_rng(1)
    mean, treated = rng.uniform(100, 900, n), (rng.random(n) < 0.5).astype(float)
    shape = (rng.gamma(4.0, size=n) - 4.0) / 2.0
    sd = 0.6 * mean**0.9 * np.where(treated == 1, 1.2, 1.0)
    return mean, treated, sd, sd * shape


def test_a_power_of_the_mean_an_arm_and_skewness_are_found():
    """SEs: of a log SD 1/√(2 n) times √(kurtosis) 0.007; of the slope 0.01."""
    mean, treated, sd, residual = _sample()
    spread, scores = fit_spread(residual, mean, treated[:, None], ("new",), positive=True)
    assert abs(spread.slope - 0.9) < 0.05
    assert abs(spread.offsets["new"] - np.log(1.2)) < 0.04
    found = spread.sd(torch.from_numpy(mean), torch.from_numpy(treated * spread.offsets["new"])).numpy()
    np.testing.assert_allclose(found / sd, 1.0, atol=0.06)
    z = torch.from_numpy(np.random.default_rng(2).normal(size=400_000))
    drawn = spread.shape.quantile(z).numpy()
    assert abs(drawn.mean()) < 4 / np.sqrt(len(drawn))
    assert abs(drawn.std() - 1) < 4 * 0.9 / np.sqrt(len(drawn))
    assert abs(stats.skew(drawn) - 1.0) < 0.15
    assert stats.ks_2samp(drawn[:20_000], residual / sd).pvalue > 0.001
    assert abs(np.nanstd(scores.exact) - 1) < 0.01


def test_a_quantity_that_may_be_negative_has_an_exponential_slope():
    rng = np.random.default_rng(3)
    mean = rng.normal(0, 2, 20_000)
    residual = np.exp(0.3 + 0.25 * mean / mean.std()) * rng.normal(size=len(mean))
    spread, _ = fit_spread(residual, mean, np.zeros((len(mean), 0)), (), positive=False)
    assert spread.least is None
    assert abs(spread.slope - 0.25) < 0.03
    assert abs(spread.level - 0.3) < 0.03


def test_missing_residuals_are_masked_and_no_residual_is_kept():
    mean, treated, _, residual = _sample(800)
    residual[600:] = np.nan
    spread, scores = fit_spread(residual, mean, treated[:, None], ("new",), positive=True)
    alone, _ = fit_spread(residual[:600], mean[:600], treated[:600, None], ("new",), positive=True)
    assert (spread.level, spread.slope) == (alone.level, alone.slope)
    assert np.isnan(scores.exact[600:]).all()
    assert not np.isin(spread.shape.table.numpy(), residual).any()


def test_it_can_be_stored():
    mean, treated, _, residual = _sample(500)
    spread, _ = fit_spread(residual, mean, treated[:, None], ("new",), positive=True)
    tensors: dict[str, torch.Tensor] = {}
    again = Spread.read(spread.store("spreads.0", tensors), tensors)
    assert (again.level, again.slope, again.offsets, again.centre, again.least) == (spread.level, spread.slope, spread.offsets, spread.centre, spread.least)
    assert torch.equal(again.shape.table, spread.shape.table)


@pytest.mark.parametrize("residual", [np.zeros(50), np.where(np.arange(50) < 25, -1.0, 1.0)])
def test_residuals_without_spread_or_with_two_values(residual):
    spread, _ = fit_spread(residual, np.full(50, 5.0), np.zeros((50, 0)), (), positive=True)
    assert np.isfinite(spread.shape.table.numpy()).all()
    assert np.isfinite(spread.level)
