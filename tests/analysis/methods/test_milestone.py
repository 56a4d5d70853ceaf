"""Survival at a milestone: against the arms' own estimates (R's survfit, see test_kaplan_meier), lifelines' test and the delta method."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from lifelines import KaplanMeierFitter
from lifelines.statistics import survival_difference_at_fixed_point_in_time_test
from scipy import stats

from trialsim.analysis import confidence_interval
from trialsim.analysis.methods.milestone import Milestone
from trialsim.records import EventData

TRANSFORMS = ("plain", "log", "log_log")


def test_the_estimate_and_its_error_are_those_of_survfit(survival_method_rows, survival_data, method_of):
    for case, at in (("SV-055", 450), ("SV-074", 1250), ("SV-118", 1750), ("SV-138", 2000)):
        own = survival_method_rows[survival_method_rows.case == case]
        values = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
        for transform in TRANSFORMS:
            found = method_of(Milestone, at=f"{at} days", transform=transform).estimate(survival_data(own.dataset.iloc[0]), favours=-1)
            assert found.estimate.item() == pytest.approx(values["surv", 2] - values["surv", 1], rel=1e-6)
            assert found.std_error.item() == pytest.approx(math.hypot(values["surv_se", 1], values["surv_se", 2]), rel=1e-6)
            assert math.copysign(1, found.statistic.item()) == math.copysign(1, found.estimate.item())


def test_intervals_are_made_from_those_of_survfit(survival_method_rows, survival_data, method_of):
    for case, at, transform in (("SV-054", 450, "log_log"), ("SV-074", 1250, "log"), ("SV-075", 1250, "log_log")):
        own = survival_method_rows[survival_method_rows.case == case]
        v = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
        found = method_of(Milestone, at=f"{at} days", transform=transform).estimate(survival_data(own.dataset.iloc[0]), favours=-1)
        low, high = confidence_interval(found, alpha_one_sided=0.025)
        difference = v["surv", 2] - v["surv", 1]
        assert low.item() == pytest.approx(difference - math.hypot(v["surv", 2] - v["surv_lower", 2], v["surv_upper", 1] - v["surv", 1]), rel=1e-5)
        assert high.item() == pytest.approx(difference + math.hypot(v["surv_upper", 2] - v["surv", 2], v["surv", 1] - v["surv_lower", 1]), rel=1e-5)


def test_the_plain_interval_is_walds(survival_data, method_of):
    found = method_of(Milestone, at="450 days", transform="plain").estimate(survival_data("lung"), favours=-1)
    assert found.ci_low is None
    assert found.statistic.item() == pytest.approx(found.estimate.item() / found.std_error.item(), rel=1e-12)


def test_the_log_log_test_is_that_of_lifelines(simulated_events, method_of):
    """At whole times that both arms have: in between lifelines interpolates the variance."""
    data = simulated_events(replicates=9, n=120, tied=True, seed=91)
    z = method_of(Milestone, at="6 days").estimate(data, favours=-1).statistic
    both = [row for row in range(0, 9, 2) if all((data.time[row][data.group[row] == arm] == 6.0).any() for arm in (0, 1))]
    assert len(both) >= 3
    for row in both:
        arms = []
        for arm in (0, 1):
            mine = (data.group[row] == arm).numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arms.append(KaplanMeierFitter().fit(data.time[row].numpy()[mine], data.event[row].numpy()[mine]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = survival_difference_at_fixed_point_in_time_test(6.0, *arms).test_statistic
        assert z[row].item() ** 2 == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_without_censoring_it_compares_two_proportions(transform, method_of):
    """Greenwood's variance is then p (1 - p) / n; the transformed statistics follow by the delta method."""
    n, survivors = (40, 50), (12, 30)
    time = torch.cat([torch.cat([torch.full((n[g] - survivors[g],), 1.0), torch.full((survivors[g],), 9.0)]) for g in (0, 1)]).double()[None]
    group = torch.tensor([0] * n[0] + [1] * n[1], dtype=torch.int8)[None]
    found = method_of(Milestone, at="5 days", transform=transform).estimate(EventData(time, torch.ones_like(time, dtype=torch.bool), group), favours=-1)
    p = np.array(survivors) / n
    error = np.sqrt(p * (1 - p) / n)
    scale, slope = {
        "plain": (p, np.ones(2)),
        "log": (np.log(p), 1 / p),
        "log_log": (-np.log(-np.log(p)), -1 / (p * np.log(p))),
    }[transform]
    assert found.statistic.item() == pytest.approx((scale[1] - scale[0]) / math.hypot(*(slope * error)), rel=1e-10)
    assert found.estimate.item() == pytest.approx(p[1] - p[0], rel=1e-12)


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    time = torch.tensor([[1.0, 8.0, 2.0, 9.0], [1.0, 4.0, 2.0, 9.0], [1.0, 4.0, 2.0, 9.0], [1.0, 8.0, 2.0, 9.0], [8.0, 8.0, 2.0, 9.0]], dtype=torch.float64)
    event = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]], dtype=torch.bool)
    group = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.int8)
    for transform, failures in (("plain", [0, 9, 0, 2, 0]), ("log", [0, 9, 3, 2, 0]), ("log_log", [0, 9, 3, 2, 3])):
        found = method_of(Milestone, at="6 days", transform=transform).estimate(EventData(time, event, group), favours=-1)
        assert found.failure.tolist() == failures
        assert torch.equal(torch.isnan(found.estimate), found.failure != 0)
        assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_numbers_do_not_depend_on_the_block(transform, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(Milestone, at="6 days", transform=transform), simulated_events(replicates=70, n=101, tied=True, absent=True), favours=-1)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_intervals_cover(transform, simulated_events, method_of):
    """4,000 trials of 200 patients, log HR -0.5: coverage 0.95 within 3 MCSE and 0.005; the test agrees with the interval in 98 %."""
    data = simulated_events(replicates=4000, n=200, log_hr=-0.5, seed=92)
    found = method_of(Milestone, at="6 days", transform=transform).estimate(data, favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    true = math.exp(-0.6 * math.exp(-0.5)) - math.exp(-0.6)
    covered = ((low <= true) & (true <= high)).double().mean().item()
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 4000) + 0.005
    excludes = (low > 0) | (high < 0)
    assert ((found.statistic.abs() >= stats.norm.isf(0.025)) == excludes).double().mean() > 0.98
