"""Average hazard ratio: against pair counting, integration of the true hazards, the jackknife and simulated trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from trialsim.analysis.methods.average_hazard_ratio import AverageHazardRatio
from trialsim.records import EventData


def test_without_censoring_it_counts_pairs(simulated_events, method_of):
    """θ is the pairs in which the test patient has the event first, over those in which the other has, ties half, up to tau."""
    data = simulated_events(replicates=6, n=60, tied=True, seed=111)
    data = EventData(data.time, torch.ones_like(data.event), data.group)
    for tau in (3.0, 6.0, 100.0):
        found = method_of(AverageHazardRatio, tau=f"{tau} days").estimate(data, favours=-1)
        for row in range(6):
            test, reference = (data.time[row][data.group[row] == g].numpy() for g in (1, 0))
            first = np.sign(reference[None] - test[:, None]) * (np.minimum(test[:, None], reference[None]) <= tau)
            half = 0.5 * np.sum((test[:, None] == reference[None]) & (test[:, None] <= tau))
            assert found.estimate[row].item() == pytest.approx(math.log((np.sum(first > 0) + half) / (np.sum(first < 0) + half)), rel=1e-10)


def test_under_proportional_hazards_it_is_the_hazard_ratio_and_otherwise_the_integral(method_of):
    """One sample of 200,000 per arm, tau 8: within 4 standard errors of the integral over the true hazards; half of the patients censored early."""
    generator = torch.Generator().manual_seed(8)
    n = 400_000
    group = (torch.arange(n) % 2).to(torch.int8)[None]
    u, c = torch.rand((2, 1, n), generator=generator, dtype=torch.float64)
    cumulative = -torch.log(u)
    delay, late = 3.0, 0.5
    # Test arm: hazard 0.1 until 3, 0.05 afterwards; reference arm 0.1.
    delayed = torch.where(cumulative < 0.1 * delay, cumulative / 0.1, delay + (cumulative - 0.1 * delay) / (0.1 * late))
    follow_up = 4.0 + 10.0 * c

    def hazard(t: float) -> float:
        return 0.1 if t < delay else 0.1 * late

    def survival(t: float) -> float:
        return math.exp(-0.1 * min(t, delay) - 0.1 * late * max(t - delay, 0.0))

    a = integrate.quad(lambda t: math.exp(-0.1 * t) * survival(t) * hazard(t), 0, 8, points=[delay])[0]
    b = integrate.quad(lambda t: math.exp(-0.1 * t) * survival(t) * 0.1, 0, 8, points=[delay])[0]
    for time, expected in ((delayed, math.log(a / b)), (cumulative / 0.06, math.log(0.6))):
        time = torch.where(group == 1, time, cumulative / 0.1)
        data = EventData(torch.minimum(time, follow_up), time <= follow_up, group)
        found = method_of(AverageHazardRatio, tau="8 days").estimate(data, favours=-1)
        assert found.std_error.item() < 0.01
        assert abs(found.estimate.item() - expected) < 4 * found.std_error.item()
        assert found.statistic.item() > 0


def test_the_standard_error_is_that_of_the_jackknife(survival_data, method_of):
    for name, tau in (("lung", 500), ("colon_death", 2000)):
        data = survival_data(name)
        n = data.time.shape[-1]
        analysis = method_of(AverageHazardRatio, tau=f"{tau} days")
        without = torch.where(torch.eye(n, dtype=torch.bool), -1.0, data.time.expand(n, n))
        each = analysis.estimate(EventData(without, data.event & (without >= 0), data.group.expand(n, n).clone()), favours=-1).estimate
        jackknife = ((each - each.mean()) ** 2).sum().sqrt().item()
        assert analysis.estimate(data, favours=-1).std_error.item() == pytest.approx(jackknife, rel=0.02)


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    time = torch.tensor([[1.0, 8.0, 2.0, 9.0], [1.0, 4.0, 2.0, 9.0], [1.0, 8.0, 2.0, 9.0], [8.0, 8.0, 2.0, 9.0]], dtype=torch.float64)
    event = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]], dtype=torch.bool)
    group = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.int8)
    found = method_of(AverageHazardRatio, tau="6 days").estimate(EventData(time, event, group), favours=-1)
    assert found.failure.tolist() == [0, 9, 2, 6]
    assert torch.equal(torch.isnan(found.estimate), found.failure != 0)
    assert found.estimate[0].item() == pytest.approx(math.log((0.5 * 0.5) / (0.5 * 1.0)))


@pytest.mark.parametrize("options", [{}, {"tau": "7 days"}])
def test_numbers_do_not_depend_on_the_block(options, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(AverageHazardRatio, **options), simulated_events(replicates=70, n=101, tied=True, absent=True), favours=-1)


def test_estimates_are_spread_as_their_standard_errors_say(simulated_events, method_of):
    """2,000 trials with log HR -0.4: bias within 4 MCSE and 0.01, SD of the estimate within 5 % of the mean SE."""
    found = method_of(AverageHazardRatio, tau="12 days").estimate(simulated_events(replicates=2000, n=160, log_hr=-0.4, seed=112), favours=-1)
    sd = found.estimate.std().item()
    assert abs(found.estimate.mean().item() + 0.4) < 4 * sd / np.sqrt(2000) + 0.01
    assert sd == pytest.approx(found.std_error.mean().item(), rel=0.05)
