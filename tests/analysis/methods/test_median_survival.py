"""Median survival: against survfit's medians and limits, the asymptotic error of a quantile, and simulated trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trialsim.analysis import confidence_interval
from trialsim.analysis.methods.median_survival import MedianSurvival
from trialsim.records import EventData


def test_medians_and_limits_are_those_of_survfit(survival_method_rows, survival_data, method_of):
    for case, transform in (("SV-118", "plain"), ("SV-138", "plain")):
        own = survival_method_rows[survival_method_rows.case == case]
        v = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
        found = method_of(MedianSurvival, transform=transform).estimate(survival_data(own.dataset.iloc[0]), favours=-1)
        difference = v["median", 2] - v["median", 1]
        assert found.estimate.item() == pytest.approx(difference, rel=1e-12)
        low, high = confidence_interval(found, alpha_one_sided=0.025)
        assert low.item() == pytest.approx(difference - math.hypot(v["median", 2] - v["median_lower", 2], v["median_upper", 1] - v["median", 1]), rel=1e-9)
        assert high.item() == pytest.approx(difference + math.hypot(v["median_upper", 2] - v["median", 2], v["median", 1] - v["median_lower", 1]), rel=1e-9)


def test_a_limit_that_is_not_reached_is_infinite(survival_data, method_of):
    found = method_of(MedianSurvival, transform="log").estimate(survival_data("aml"), favours=-1)  # survfit: 23 (8, NA) and 31 (18, NA)
    assert found.failure.item() == 0
    assert found.estimate.item() == 8.0
    assert found.ci_low.item() == -math.inf
    assert found.ci_high.item() == math.inf


def test_a_median_that_is_not_reached_fails(survival_data, method_of):
    assert method_of(MedianSurvival).estimate(survival_data("ovarian"), favours=-1).failure.item() == 10


def test_the_standard_error_is_that_of_a_quantile(method_of):
    """Uncensored exponential samples of 20,000: SE = 0.5 / (f(m) √n), f the density at the median, within 5 %."""
    generator = torch.Generator().manual_seed(5)
    n, rate = 20_000, torch.tensor([0.1, 0.05], dtype=torch.float64)
    group = (torch.arange(2 * n) % 2).to(torch.int8)[None]
    time = -torch.log(torch.rand((1, 2 * n), generator=generator, dtype=torch.float64)) / rate[group.long()]
    data = EventData(time, torch.ones_like(time, dtype=torch.bool), group)
    expected = math.hypot(*(0.5 / (r / 2) / math.sqrt(n) for r in rate.tolist()))
    assert method_of(MedianSurvival).estimate(data, favours=-1).std_error.item() == pytest.approx(expected, rel=0.05)
    at_median = method_of(MedianSurvival, at=f"{math.log(2) / 0.1} days").estimate(data, favours=-1).std_error.item()
    # In the slower arm S is then 0.7 and its density 0.7 x 0.05.
    assert at_median == pytest.approx(math.hypot(0.5 / 0.05 / math.sqrt(n), 0.5 / (2**-0.5 * 0.05) / math.sqrt(n)), rel=0.05)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated_events, method_of):
    data = simulated_events(replicates=4, n=60, seed=101)
    event, group = data.event.clone(), data.group.clone()
    event[1] = event[1] & (group[1] == 1)
    group[2] = 0
    found = method_of(MedianSurvival).estimate(EventData(data.time, event, group), favours=-1)
    assert found.failure.tolist() == [0, 10, 2, 0]
    for field in (found.statistic, found.estimate, found.std_error, found.ci_low):
        assert torch.equal(torch.isnan(field), found.failure != 0)


def test_a_longer_median_favours_the_test_arm(simulated_events, method_of):
    found = method_of(MedianSurvival).estimate(simulated_events(replicates=4, n=600, log_hr=-1.0, seed=102), favours=-1)
    assert (found.statistic > 2).all()
    assert (found.estimate > 0).all()


@pytest.mark.parametrize("options", [{}, {"transform": "plain", "at": "5 days"}])
def test_numbers_do_not_depend_on_the_block(options, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(MedianSurvival, **options), simulated_events(replicates=70, n=101, tied=True, absent=True), favours=-1)


@pytest.mark.parametrize("transform", ["plain", "log", "log_log"])
def test_intervals_cover_and_errors_are_those_of_the_estimates(transform, simulated_events, method_of):
    """2,000 trials of 400 patients, log HR -0.4: coverage between 0.94 and 0.975 (it is conservative); SD within 10 % of the mean SE."""
    found = method_of(MedianSurvival, transform=transform).estimate(simulated_events(replicates=2000, n=400, log_hr=-0.4, seed=103), favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    true = math.log(2) * 10 * (math.exp(0.4) - 1)
    covered = ((low <= true) & (true <= high)).double().mean().item()
    assert 0.94 < covered < 0.975
    sd = np.nanstd(found.estimate.numpy())
    assert np.nanmedian(found.std_error.numpy()) == pytest.approx(sd, rel=0.1)
