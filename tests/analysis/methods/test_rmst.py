"""Restricted mean survival against survRM2 on real data and lifelines; failures, same bits, error rates."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
import torch
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from trialsim.analysis import confidence_interval, p_value
from trialsim.analysis.kaplan_meier import kaplan_meier
from trialsim.analysis.methods.rmst import Rmst
from trialsim.analysis.restricted_mean import restricted_mean
from trialsim.records import EventData

CASES = ["SV-014", "SV-056", "SV-077", "SV-119", "SV-139"]


@pytest.mark.parametrize("case", CASES)
def test_means_difference_and_ratio_are_those_of_survrm2(case, survival_method_rows, survival_data, method_of):
    own = survival_method_rows[survival_method_rows.case == case]
    values = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
    tau = float(re.search(r"tau=(\d+)", own.spec.iloc[0])[1])
    data = survival_data(own.dataset.iloc[0])
    mean, variance = restricted_mean(kaplan_meier(data), torch.tensor([tau], dtype=torch.float64))
    for arm in (0, 1):
        error = math.sqrt(variance[arm].item())
        ours = [mean[arm].item(), error, mean[arm].item() - 1.959963984540054 * error, mean[arm].item() + 1.959963984540054 * error]
        assert ours == pytest.approx([values[f"rmst_arm{arm}", k] for k in (1, 2, 3, 4)], rel=1e-6)
    for measure, key, scaled in (("difference", "diff_est_lo_hi_p", float), ("ratio", "ratio_est_lo_hi_p", math.exp)):
        analysis = method_of(Rmst, tau=f"{tau} days", measure=measure)
        found = analysis.estimate(data, favours=-1)
        low, high = confidence_interval(found, alpha_one_sided=0.025)
        ours = [scaled(found.estimate.item()), scaled(low.item()), scaled(high.item()), p_value(found, sides=2).item()]
        assert ours == pytest.approx([values[key, k] for k in (1, 2, 3, 4)], rel=1e-6)
        assert math.copysign(1, found.statistic.item()) == math.copysign(1, found.estimate.item())


def test_every_reference_case_is_used(survival_method_rows):
    assert sorted(survival_method_rows[survival_method_rows.method == "rmst"].case.unique()) == CASES


def test_simulated_trials_are_those_of_lifelines(simulated_events, method_of):
    data = simulated_events(replicates=5, n=120, tied=True, absent=True, seed=81)
    data = EventData(data.time, data.event & (data.time >= 0), data.group)
    found = method_of(Rmst, tau="9 days").estimate(data, favours=-1)
    for row in range(5):
        means = []
        for arm in (0, 1):
            mine = ((data.time[row] >= 0) & (data.group[row] == arm)).numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = KaplanMeierFitter().fit(data.time[row].numpy()[mine], data.event[row].numpy()[mine])
                means.append(restricted_mean_survival_time(fit, t=9.0))
        assert found.estimate[row].item() == pytest.approx(means[1] - means[0], rel=1e-7)


def test_tau_is_the_shorter_of_the_longest_follow_ups_when_left_out(simulated_events, method_of):
    data = simulated_events(replicates=3, seed=82)
    found = method_of(Rmst).estimate(data, favours=-1)
    for row in range(3):
        tau = min(data.time[row][data.group[row] == arm].max().item() for arm in (0, 1))
        alone = EventData(data.time[row : row + 1], data.event[row : row + 1], data.group[row : row + 1])
        mean, _ = restricted_mean(kaplan_meier(alone), torch.tensor([tau], dtype=torch.float64))
        assert found.estimate[row].item() == pytest.approx((mean[1] - mean[0]).item(), rel=1e-12)


def test_the_standard_error_is_that_of_the_jackknife(survival_data, method_of):
    """Leaving patients out one at a time: the variance of the difference up to terms of order 1/n."""
    data = survival_data("lung")
    n = data.time.shape[-1]
    without = torch.where(torch.eye(n, dtype=torch.bool), -1.0, data.time.expand(n, n))
    left_out = EventData(without, data.event & (without >= 0), data.group.expand(n, n).clone())
    for measure in ("difference", "ratio"):
        analysis = method_of(Rmst, tau="700 days", measure=measure)
        each = analysis.estimate(left_out, favours=-1).estimate
        jackknife = ((each - each.mean()) ** 2).sum().sqrt().item()
        assert analysis.estimate(data, favours=-1).std_error.item() == pytest.approx(jackknife, rel=0.02)


def test_longer_survival_favours_the_test_arm(simulated_events, method_of):
    data = simulated_events(replicates=4, n=400, log_hr=-1.0, seed=83)
    found = method_of(Rmst, tau="10 days").estimate(data, favours=-1)
    assert (found.statistic > 2).all()
    assert (found.estimate > 0).all()
    assert method_of(Rmst).scale == "rmst_difference"
    assert method_of(Rmst, measure="ratio").std_error_scale == "log_rmst_ratio"


@pytest.mark.parametrize("favours", [-1, 1])
def test_a_margin_is_a_loss_of_time_without_the_event(favours, simulated_events, method_of):
    """Events bad: non-inferior when μ1 - μ0 > -1 day; events good (a cure): when μ1 - μ0 < 1 day."""
    data = simulated_events(replicates=5, n=200, seed=85)
    plain = method_of(Rmst, tau="10 days").estimate(data, favours=favours)
    for kind, expected in (
        ("non_inferiority", (plain.estimate * -favours + 1.0) / plain.std_error),
        ("equivalence", (1.0 - plain.estimate.abs()) / plain.std_error),
    ):
        found = method_of(Rmst, tau="10 days", type=kind, margin=1.0).answer(data, favours=favours)
        torch.testing.assert_close(found.statistic, expected, rtol=1e-12, atol=1e-12)


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    time = torch.tensor([[1.0, 8.0, 2.0, 9.0], [1.0, 4.0, 2.0, 9.0], [1.0, 4.0, 2.0, 9.0], [1.0, 8.0, 2.0, 9.0], [8.0, 8.0, 9.0, 9.0]], dtype=torch.float64)
    event = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    group = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.int8)
    found = method_of(Rmst, tau="6 days").estimate(EventData(time, event, group), favours=-1)
    assert found.failure.tolist() == [0, 9, 0, 2, 3]  # the third arm is followed to its last event: its curve is known
    assert torch.equal(torch.isnan(found.estimate), found.failure != 0)
    assert found.estimate[2].item() == pytest.approx((2 + 6) / 2 - (1 + 4) / 2)


@pytest.mark.parametrize("options", [{}, {"tau": "7 days"}, {"tau": "7 days", "measure": "ratio"}])
def test_numbers_do_not_depend_on_the_block(options, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(Rmst, **options), simulated_events(replicates=70, n=101, tied=True, absent=True), favours=-1)


def test_estimates_are_spread_as_their_standard_errors_say(simulated_events, method_of):
    """2,000 trials with log HR -0.4: the exponential difference within 4 MCSE, SD of the estimate within 5 % of the mean SE."""
    found = method_of(Rmst, tau="10 days").estimate(simulated_events(replicates=2000, n=160, log_hr=-0.4, seed=84), favours=-1)
    rates = 0.1 * np.exp([0.0, -0.4])
    true = np.diff((1 - np.exp(-rates * 10)) / rates).item()
    sd = found.estimate.std().item()
    assert abs(found.estimate.mean().item() - true) < 4 * sd / np.sqrt(2000)
    assert sd == pytest.approx(found.std_error.mean().item(), rel=0.05)
