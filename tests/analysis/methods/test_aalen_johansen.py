"""The difference in cumulative incidence against cmprsk, and what must hold of it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tests.analysis.competing import mgus2, reference_rows, simulated
from trialsim.analysis.methods.aalen_johansen import AalenJohansen


@pytest.mark.parametrize("cause", [1, 2])
@pytest.mark.parametrize("k, at", [(0, 60), (1, 120), (2, 240)])
def test_differences_are_those_of_cmprsk(k, at, cause, method_of):
    rows = reference_rows("SV-193")
    first = 4 * k + 2 * (cause - 1) + 1
    (f0, f1), (v0, v1) = ([rows[name, first + arm] for arm in (0, 1)] for name in ("est", "var"))
    found = method_of(AalenJohansen, at=f"{at} days").estimate(mgus2(cause), favours=-1)
    assert found.estimate.item() == pytest.approx(f1 - f0, rel=1e-6)
    assert found.std_error.item() == pytest.approx(math.sqrt(v0 + v1), rel=1e-6)
    assert found.statistic.item() == pytest.approx(-(f1 - f0) / math.sqrt(v0 + v1), rel=1e-6)


def test_without_a_time_it_is_the_last_both_arms_are_followed_to(method_of):
    data = simulated(5, seed=3)
    last = [torch.where(data.group == g, data.time, -1.0).amax(-1) for g in (0, 1)]
    found = method_of(AalenJohansen).estimate(data, favours=-1)
    for r in range(5):
        at = min(last[0][r].item(), last[1][r].item())
        one = dataclasses.replace(data, **{name: getattr(data, name)[r : r + 1] for name in ("time", "event", "group", "competing")})
        assert method_of(AalenJohansen, at=f"{at!r} days").estimate(one, favours=-1).estimate.item() == found.estimate[r].item()


@pytest.mark.parametrize("variance", ["aalen", "greenwood", "jackknife"])
@pytest.mark.parametrize("options", [{}, {"at": "8 days"}])
def test_numbers_do_not_depend_on_the_block(options, variance, method_of, assert_same_bits):
    assert_same_bits(method_of(AalenJohansen, variance=variance, **options), simulated(70, n=101, tied=True, absent=True))


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    data = simulated(6, n=40, seed=7)
    time, event, competing, group = (getattr(data, name).clone() for name in ("time", "event", "competing", "group"))
    event[1] = False
    group[2] = 0
    event[3] &= group[3] == 1
    time[4] = torch.where(group[4] == 1, time[4].clamp(max=3.0), time[4])
    event[4] &= time[4] != 3.0
    competing[4] &= time[4] != 3.0
    event[5] &= time[5] > 5.0
    found = method_of(AalenJohansen, at="5 days").estimate(dataclasses.replace(data, time=time, event=event, competing=competing, group=group), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 6, 9, 6]
    for field in (found.statistic, found.estimate, found.std_error):
        assert torch.equal(torch.isnan(field), found.failure != 0)


@pytest.mark.parametrize("variance", ["aalen", "greenwood", "jackknife"])
def test_null_trials_are_rejected_and_estimates_spread_as_they_should(variance, method_of):
    """2,000 null trials of 200 patients, both tails within 3 MCSE (0.0105) and 0.002 of 0.025; SD of the estimate within 5 % of the mean SE."""
    found = method_of(AalenJohansen, at="8 days", variance=variance).estimate(simulated(2000, n=200, seed=21), favours=-1)
    assert (found.failure == 0).all()
    for rejected in (found.statistic > 1.959964, found.statistic < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 2000) + 0.002
    assert found.estimate.std().item() == pytest.approx(found.std_error.mean().item(), rel=0.05)


def test_the_sign_favours_the_test_arm(method_of):
    found = method_of(AalenJohansen, at="8 days").estimate(simulated(4, n=400, seed=5, log_hr=-1.2), favours=-1)
    assert (found.statistic > 2).all()
    assert (found.estimate < 0).all()
