"""The rank-sum test against SciPy; Hodges-Lehmann limits against a search over shifts, ties, exact law, failures, same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.analysis import p_value
from trialsim.analysis.methods.wilcoxon import Wilcoxon
from trialsim.records import ValueData

ALTERNATIVES = {1: "greater", -1: "less"}


def _arms(data, row):
    there = ~torch.isnan(data.value[row])
    return (data.value[row][there & (data.group[row] == arm)].numpy() for arm in (1, 0))


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("outcome", ["normal", "ordinal", "count"])
def test_p_values_are_those_of_scipy(outcome, correct, simulated, method_of):
    data = simulated(outcome, replicates=6, n=90, effect=0.4, absent=True, seed=1)
    for sides, favours in ((2, 1), (1, 1), (1, -1)):
        found = method_of(Wilcoxon, correct=correct, sides=sides).estimate(data, favours=favours)
        for row in range(6):
            test, reference = _arms(data, row)
            alternative = "two-sided" if sides == 2 else ALTERNATIVES[favours]
            theirs = stats.mannwhitneyu(test, reference, alternative=alternative, method="asymptotic", use_continuity=correct)
            assert p_value(found, sides=sides)[row].item() == pytest.approx(theirs.pvalue, rel=1e-9)
            assert found.n[row].item() == len(test) + len(reference)


@pytest.mark.parametrize("sides, favours", [(2, 1), (1, 1), (1, -1)])
def test_the_exact_law_is_that_of_scipy(sides, favours, simulated, method_of):
    data = simulated("normal", replicates=8, n=33, effect=0.5, absent=True)
    found = method_of(Wilcoxon, exact=True, sides=sides).estimate(data, favours=favours)
    for row in range(8):
        alternative = "two-sided" if sides == 2 else ALTERNATIVES[favours]
        theirs = stats.mannwhitneyu(*_arms(data, row), alternative=alternative, method="exact")
        assert p_value(found, sides=sides)[row].item() == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_exact_law_is_for_small_arms_without_ties(simulated, method_of):
    for outcome, n in (("count", 30), ("normal", 120)):
        data = simulated(outcome, replicates=4, n=n)
        exact, normal = (method_of(Wilcoxon, exact=exact).estimate(data, favours=1) for exact in (True, False))
        assert torch.equal(exact.statistic, normal.statistic)


def test_the_shift_is_the_median_of_all_differences(simulated, method_of):
    data = simulated("normal", replicates=4, n=60, effect=0.5, absent=True)
    found = method_of(Wilcoxon).estimate(data, favours=1)
    for row in range(4):
        test, reference = _arms(data, row)
        assert found.estimate[row].item() == pytest.approx(np.median(test[:, None] - reference), rel=1e-12)


@pytest.mark.parametrize("correct", [False, True])
def test_limits_are_where_the_test_of_a_shift_begins_to_reject(correct, simulated, method_of):
    data = simulated("normal", replicates=5, n=50, effect=0.5)
    method = method_of(Wilcoxon, correct=correct)
    found = method.estimate(data, favours=1)
    for limit, inwards, favours in ((found.ci_low, 1.0, 1), (found.ci_high, -1.0, -1)):
        for row in range(5):
            one = ValueData(value=data.value[row : row + 1], group=data.group[row : row + 1])
            z = [method.statistic_at(one, found, limit[row].item() + inwards * step, favours=favours).item() for step in (-1e-9, 1e-9)]
            assert z[0] >= 1.959963985 > z[1]


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("normal", replicates=4, n=30)
    value = data.value.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 5.0
    for exact in (False, True):
        found = method_of(Wilcoxon, exact=exact).estimate(ValueData(value=value, group=data.group), favours=1)
        assert found.failure.tolist() == [0, 2, 3, 0]
        assert torch.equal(torch.isnan(found.statistic), found.failure != 0)
        assert torch.equal(torch.isnan(found.estimate), found.failure != 0)


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"correct": False}], ids=str)
def test_numbers_do_not_depend_on_the_block(options, simulated, assert_same_bits, method_of):
    data = simulated("normal", n=61, absent=True)
    value = data.value.clone()
    value[::3] = value[::3].round()
    assert_same_bits(method_of(Wilcoxon, **options), ValueData(value=value, group=data.group))
