"""Two proportions against R; intervals, infinite ratios, failures, same bits."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from trialsim.analysis import confidence_interval, p_value
from trialsim.analysis.methods.proportions import Proportions
from trialsim.records import ValueData


def test_the_difference_is_that_of_prop_test(birthwt, regression_rows, method_of):
    theirs = regression_rows("SV-215")
    found = method_of(Proportions).estimate(birthwt, favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    assert found.estimate.item() == pytest.approx(theirs["est", 1] - theirs["est", 2], rel=1e-8)
    assert found.statistic.item() ** 2 == pytest.approx(theirs["chisq", 1], rel=1e-8)
    assert found.statistic.item() < 0
    assert (low.item(), high.item()) == pytest.approx((theirs["ci", 1], theirs["ci", 2]), rel=1e-8)


@pytest.mark.parametrize("test, z", [("pooled", 1.85919120102), ("farrington_manning", 1.85919120102), ("miettinen_nurminen", 1.84781989434)])
def test_score_tests_of_no_effect_are_the_pooled_test(test, z, table_data, method_of):
    for measure in ("difference", "ratio", "odds_ratio"):
        found = method_of(Proportions, test=test, measure=measure).estimate(table_data(15, 40, 8, 42), favours=1)
        assert found.statistic.item() == pytest.approx(z, abs=1e-9)


WALD = {
    "difference": (15 / 40 - 8 / 42, math.sqrt(15 * 25 / 40**3 + 8 * 34 / 42**3)),
    "ratio": (math.log((15 / 40) / (8 / 42)), math.sqrt(1 / 15 - 1 / 40 + 1 / 8 - 1 / 42)),
    "odds_ratio": (math.log(15 * 34 / (25 * 8)), math.sqrt(1 / 15 + 1 / 25 + 1 / 8 + 1 / 34)),
}


@pytest.mark.parametrize("measure", WALD)
def test_walds_test_is_the_estimate_over_its_standard_error(measure, table_data, method_of):
    """15 of 40 against 8 of 42; the ratios by Katz's and Woolf's formulas."""
    found = method_of(Proportions, test="unpooled", measure=measure).estimate(table_data(15, 40, 8, 42), favours=1)
    estimate, se = WALD[measure]
    assert found.estimate.item() == pytest.approx(estimate, rel=1e-12)
    assert found.std_error.item() == pytest.approx(se, rel=1e-12)
    assert found.statistic.item() == pytest.approx(estimate / se, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_an_interval_excludes_no_effect_exactly_when_its_test_rejects(alpha, simulated, method_of):
    data = simulated("binary", replicates=200, n=60, effect=0.9)
    for measure in ("difference", "ratio", "odds_ratio"):
        for test in ("miettinen_nurminen", "farrington_manning"):
            found = method_of(Proportions, test=test, interval=test, measure=measure, alpha=alpha).estimate(data, favours=1)
            assert torch.equal((found.ci_low > 0) | (found.ci_high < 0), p_value(found, sides=2) < alpha)


def test_the_interval_left_out_follows_the_test(table_data, method_of):
    data = table_data(15, 40, 8, 42)
    assert method_of(Proportions).estimate(data, favours=1).ci_low is None
    assert method_of(Proportions, test="miettinen_nurminen").estimate(data, favours=1).ci_low.item() == pytest.approx(-0.01137969, abs=1e-7)


def test_a_ratio_without_responders_in_an_arm_keeps_its_test(table_data, method_of):
    data = table_data(5, 56, 0, 29)
    found = method_of(Proportions, measure="ratio", test="miettinen_nurminen").estimate(data, favours=1)
    assert found.failure.item() == 0
    assert found.estimate.item() == found.ci_high.item() == math.inf
    assert found.statistic.item() == pytest.approx(1.64886324494, abs=1e-8)
    assert method_of(Proportions, measure="ratio", test="unpooled").estimate(data, favours=1).failure.item() == 6


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("binary", replicates=4, n=30)
    value = data.value.clone()
    value[1] = 1.0
    value[2, data.group[2] == 1] = torch.nan
    for interval in ("wald", "wilson", "clopper_pearson", "miettinen_nurminen"):
        found = method_of(Proportions, interval=interval).estimate(ValueData(value=value, group=data.group), favours=1)
        assert found.failure.tolist() == [0, 3, 2, 0]
        assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


@pytest.mark.parametrize("interval", ["wald", "wilson", "clopper_pearson", "miettinen_nurminen"])
@pytest.mark.parametrize("measure", ["difference", "ratio", "odds_ratio"])
def test_numbers_do_not_depend_on_the_block(interval, measure, simulated, assert_same_bits, method_of):
    assert_same_bits(method_of(Proportions, interval=interval, measure=measure), simulated("binary", absent=True))


def test_the_pooled_test_is_the_chi_square_test(simulated, method_of):
    data = simulated("binary", replicates=5, n=80, effect=0.5)
    found = method_of(Proportions).estimate(data, favours=1)
    for row in range(5):
        counts = [[int(((data.group[row] == arm) & (data.value[row] == outcome)).sum()) for outcome in (0, 1)] for arm in (0, 1)]
        assert p_value(found, sides=2)[row].item() == pytest.approx(stats.chi2_contingency(counts, correction=False).pvalue, rel=1e-10)
