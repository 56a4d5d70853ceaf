"""The t-test against SciPy; missing values, failures, same bits, type I error."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from scipy import stats

from trialsim.analysis import confidence_interval, p_value
from trialsim.analysis.methods.t_test import TTest
from trialsim.records import ValueData


@pytest.mark.parametrize("variance", ["welch", "pooled"])
@pytest.mark.parametrize("absent", [False, True])
def test_statistic_df_p_and_interval_are_those_of_scipy(variance, absent, simulated_values, method_of):
    data = simulated_values(replicates=20, difference=0.4, absent=absent, seed=1)
    found = method_of(TTest, variance=variance).estimate(data, favours=1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    p = p_value(found, sides=2)
    for row in range(20):
        value, group = data.value[row], data.group[row]
        there = ~torch.isnan(value)
        test, reference = value[there & (group == 1)].numpy(), value[there & (group == 0)].numpy()
        theirs = stats.ttest_ind(test, reference, equal_var=variance == "pooled")
        interval = theirs.confidence_interval(0.95)
        assert found.n[row].item() == len(test) + len(reference)
        assert found.estimate[row].item() == pytest.approx(test.mean() - reference.mean(), rel=1e-12)
        assert found.statistic[row].item() == pytest.approx(theirs.statistic, rel=1e-11)
        assert found.df[row].item() == pytest.approx(theirs.df, rel=1e-11)
        assert p[row].item() == pytest.approx(theirs.pvalue, rel=1e-9)
        assert (low[row].item(), high[row].item()) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("variance", ["welch", "pooled"])
def test_numbers_do_not_depend_on_the_block(variance, simulated_values, assert_same_bits, method_of):
    assert_same_bits(method_of(TTest, variance=variance), simulated_values(replicates=70, n=101, absent=True))


def _exact(value: torch.Tensor, group: torch.Tensor) -> tuple[float, float, float]:
    """Welch's t, its df and the difference, in exact arithmetic until the last root."""
    there = ~torch.isnan(value)
    arms = [[Fraction(x) for x in value[there & (group == arm)].tolist()] for arm in (0, 1)]
    mean = [sum(arm) / len(arm) for arm in arms]
    each = [sum((x - m) ** 2 for x in arm) / (len(arm) - 1) / len(arm) for arm, m in zip(arms, mean, strict=True)]
    squared = each[0] + each[1]
    df = squared**2 / sum(v * v / (len(arm) - 1) for arm, v in zip(arms, each, strict=True))
    difference = mean[1] - mean[0]
    return float(difference) / math.sqrt(squared), float(df), float(difference)


@pytest.mark.parametrize(
    "shift, apart, ratio, within",
    [
        (0.0, 0.4, 1.0, 1e-13),
        (1e8, 0.4, 1.0, 1e-13),  # far from zero: nothing is lost beyond what the values themselves have lost
        (0.0, 30.0, 1.0, 1e-12),
        (0.0, 1e3, 1.0, 1e-12),
        (0.0, 1e6, 1.0, 1e-12),
        (0.0, 0.4, 1e4, 1e-12),  # arms of very different variance, either way
        (0.0, 0.4, 1e-4, 1e-12),
    ],
)
@pytest.mark.parametrize("absent", [False, True])
def test_sums_lose_no_digits(shift, apart, ratio, within, absent, simulated_values, method_of):
    data = simulated_values(replicates=5, n=81, absent=absent, seed=4)
    value = shift + torch.where(data.group == 1, apart + data.value * ratio, data.value)
    found = method_of(TTest).estimate(ValueData(value=value, group=data.group), favours=1)
    for row in range(5):
        t, df, difference = _exact(value[row], data.group[row])
        assert found.estimate[row].item() == pytest.approx(difference, rel=within)
        assert found.statistic[row].item() == pytest.approx(t, rel=within)
        assert found.df[row].item() == pytest.approx(df, rel=within)


def test_a_missing_value_elsewhere_in_the_block_changes_no_bit(simulated_values, method_of):
    data = simulated_values(replicates=6, n=90, seed=5)
    value = data.value.clone()
    value[2, 7] = math.nan
    value[4] = torch.where(data.group[4] == 1, 1e5 + data.value[4], data.value[4])  # summed about its own means
    together = method_of(TTest).estimate(ValueData(value=value, group=data.group), favours=1)
    for row in range(6):
        alone = method_of(TTest).estimate(ValueData(value=value[row, None], group=data.group[row, None]), favours=1)
        for name in ("statistic", "df", "estimate", "std_error", "n"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[row]), (row, name)


@pytest.mark.parametrize("variance, lone", [("welch", 3), ("pooled", 0)])
def test_a_replicate_that_cannot_be_analysed_says_why(variance, lone, simulated_values, method_of):
    data = simulated_values(replicates=5, n=30, seed=2)
    value, group = data.value.clone(), data.group.clone()
    value[1, group[1] == 1] = torch.nan
    value[2] = 0.1  # not a binary fraction: its mean may be off by a rounding
    value[3, 3:] = torch.where(group[3, 3:] == 1, torch.nan, value[3, 3:])
    found = method_of(TTest, variance=variance).estimate(ValueData(value=value, group=group), favours=1)
    assert found.failure.tolist() == [0, 2, 3, lone, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)
    assert torch.equal(torch.isnan(found.df), found.failure != 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_favours_the_test_arm(sign, simulated_values, method_of):
    found = method_of(TTest).estimate(simulated_values(replicates=3, n=300, difference=sign * 3.0), favours=sign)
    assert (found.statistic > 0).all()
    assert (found.estimate * sign > 0).all()


def test_type_one_error_is_alpha_under_unequal_variances(simulated_values, method_of):
    """20,000 null trials, a third of the patients with twice the SD: Welch holds 0.025 within 3 MCSE (0.0033)."""
    found = method_of(TTest).estimate(simulated_values(replicates=20_000, n=60, seed=3), favours=1)
    rejected = (p_value(found, sides=1) < 0.025).double().mean().item()
    assert abs(rejected - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 20_000)
