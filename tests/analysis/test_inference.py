"""z, p-values and intervals against SciPy, far into the tails."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from scipy import stats

from trialsim.analysis import confidence_interval, normal_statistic, p_value
from trialsim.records import Estimates


def _estimates(statistic, df=None, **more) -> Estimates:
    column = torch.tensor(statistic, dtype=torch.float64)
    n = torch.full((len(statistic),), 10)
    return Estimates(statistic=column, n=n, failure=0 * n, df=None if df is None else torch.tensor(df, dtype=torch.float64), **more)


@pytest.mark.parametrize("df", [1.0, 4.7, 30.0, 997.3])
def test_z_has_the_p_value_of_t(df):
    t = [-9.0, -2.1, -0.3, 0.0, 0.3, 2.1, 9.0]
    found = _estimates(t, [df] * len(t))
    z = normal_statistic(found)
    for statistic, mine in zip(t, z.tolist(), strict=True):
        assert stats.norm.logsf(abs(mine)) == pytest.approx(stats.t.logsf(abs(statistic), df), rel=1e-10)
        assert math.copysign(1, mine) == math.copysign(1, statistic)
    for sides in (1, 2):
        expected = stats.t.sf(t, df) if sides == 1 else 2 * stats.t.sf([abs(x) for x in t], df)
        assert p_value(found, sides=sides).tolist() == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize("t, df", [(60.0, 1000.0), (75.0, 1000.0), (200.0, 500.0), (-200.0, 500.0)])
def test_beyond_floating_point_the_tail_is_that_of_exact_arithmetic(t, df):
    z = normal_statistic(_estimates([t], [df])).item()
    with mpmath.workdps(50):
        half = mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, df / (df + mpmath.mpf(t) ** 2), regularized=True) / 2
        log_tail = mpmath.log(half)
        mine = mpmath.log(mpmath.erfc(abs(mpmath.mpf(z)) / mpmath.sqrt(2)) / 2)
        assert float(mine / log_tail) == pytest.approx(1.0, abs=1e-3)
    assert math.copysign(1, z) == math.copysign(1, t)


def test_a_z_stays_as_it_is():
    found = _estimates([-1.0, 2.0, math.nan])
    assert torch.equal(normal_statistic(found)[:2], found.statistic[:2])
    assert p_value(found, sides=1)[:2].tolist() == pytest.approx([stats.norm.sf(-1.0), stats.norm.sf(2.0)], rel=1e-12)
    assert torch.isnan(p_value(found, sides=2)[2])


def test_intervals_have_the_quantile_of_the_test():
    estimate, std_error = torch.tensor([1.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    low, high = confidence_interval(_estimates([2.0], estimate=estimate, std_error=std_error), alpha_one_sided=0.025)
    assert (low.item(), high.item()) == pytest.approx((1 - 0.5 * stats.norm.isf(0.025), 1 + 0.5 * stats.norm.isf(0.025)), rel=1e-12)
    low, high = confidence_interval(_estimates([2.0], [5.5], estimate=estimate, std_error=std_error), alpha_one_sided=0.05)
    assert (low.item(), high.item()) == pytest.approx((1 - 0.5 * stats.t.isf(0.05, 5.5), 1 + 0.5 * stats.t.isf(0.05, 5.5)), rel=1e-12)
    assert confidence_interval(_estimates([2.0]), alpha_one_sided=0.025) is None
    own = confidence_interval(_estimates([2.0], ci_low=estimate, ci_high=std_error), alpha_one_sided=0.025)
    assert own == (estimate, std_error)
