"""Cochran-Mantel-Haenszel against R and statsmodels; one stratum, failures, same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from statsmodels.stats.contingency_tables import StratifiedTable

from trialsim.analysis import confidence_interval, p_value
from trialsim.analysis.methods.cmh import Cmh
from trialsim.records import ValueData


def test_birth_weights_by_race_are_those_of_r(birthwt, regression_rows, method_of):
    theirs = regression_rows("SV-214")
    found = method_of(Cmh).estimate(birthwt, favours=1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    assert found.statistic.item() ** 2 == pytest.approx(theirs["stat", 1], rel=1e-8)
    assert p_value(found, sides=2).item() == pytest.approx(theirs["p", 1], rel=1e-7)
    assert math.exp(found.estimate.item()) == pytest.approx(theirs["common_or", 1], rel=1e-8)
    assert (math.exp(low.item()), math.exp(high.item())) == pytest.approx((theirs["ci", 1], theirs["ci", 2]), rel=1e-8)


@pytest.mark.parametrize("correct", [False, True])
def test_statistic_odds_and_risk_ratio_are_those_of_statsmodels(correct, simulated, method_of):
    data = simulated("binary", replicates=5, n=150, effect=0.6, strata=4, absent=True, seed=3)
    found = method_of(Cmh, correct=correct).estimate(data, favours=1)
    ratio = method_of(Cmh, measure="ratio").estimate(data, favours=1)
    for row in range(5):
        tables = []
        for level in range(4):
            mine = (data.stratum[row] == level) & ~torch.isnan(data.value[row])
            tables.append([[int((mine & (data.group[row] == arm) & (data.value[row] == outcome)).sum()) for outcome in (1, 0)] for arm in (1, 0)])
        theirs = StratifiedTable(np.moveaxis(np.array(tables, dtype=float), 0, -1))
        assert found.statistic[row].item() ** 2 == pytest.approx(theirs.test_null_odds(correction=correct).statistic, rel=1e-9)
        assert found.estimate[row].item() == pytest.approx(theirs.logodds_pooled, rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(theirs.logodds_pooled_se, rel=1e-9)
        assert math.exp(ratio.estimate[row].item()) == pytest.approx(theirs.riskratio_pooled, rel=1e-9)


def test_common_risks_in_one_stratum_are_the_plain_ones(simulated, method_of):
    """In one stratum the variances are Katz's and (Sato's) within 1/n of the binomial one."""
    data = simulated("binary", replicates=4, n=400, effect=0.6)
    test, reference = (data.value[:, arm::2].mean(-1) for arm in (1, 0))
    ratio, difference = (method_of(Cmh, measure=measure).estimate(data, favours=1) for measure in ("ratio", "difference"))
    torch.testing.assert_close(ratio.estimate, torch.log(test / reference))
    torch.testing.assert_close(ratio.std_error**2, (1 - test) / (200 * test) + (1 - reference) / (200 * reference))
    torch.testing.assert_close(difference.estimate, test - reference)
    torch.testing.assert_close(difference.std_error**2, (test * (1 - test) + reference * (1 - reference)) / 200, rtol=1e-2, atol=0)


def test_satos_variance_is_the_spread_of_the_estimate_over_trials_of_sparse_strata(simulated, method_of):
    """4,000 trials of 30 strata of 4: the mean variance is the variance over trials within 4 MCSE (9 %)."""
    data = simulated("binary", replicates=4_000, n=120, effect=0.7, seed=5)
    stratum = (torch.arange(120) // 4).expand(4_000, 120)
    found = method_of(Cmh, measure="difference").estimate(ValueData(value=data.value, group=data.group, stratum=stratum, n_strata=30), favours=1)
    assert (found.std_error**2).mean().item() / found.estimate.var().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 4_000))


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("binary", replicates=5, n=60, strata=2)
    value, stratum = data.value.clone(), data.stratum.clone()
    value[1] = 0.0
    value[2, data.group[2] == 1] = torch.nan
    stratum[3] = data.group[3]  # each stratum has one arm
    found = method_of(Cmh).estimate(ValueData(value=value, group=data.group, stratum=stratum, n_strata=2), favours=1)
    assert found.failure.tolist() == [0, 3, 2, 3, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


@pytest.mark.parametrize("measure", ["odds_ratio", "ratio", "difference"])
def test_numbers_do_not_depend_on_the_block(measure, simulated, assert_same_bits, method_of):
    assert_same_bits(method_of(Cmh, measure=measure), simulated("binary", strata=3, absent=True))
