"""Proportional odds against MASS::polr and a witness; missing categories, failures, same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from witness.regressions import proportional_odds

from trialsim.analysis.cumulative_logit import OrdinalDesign, levels_of, maximise_ordinal
from trialsim.analysis.linear_predictor import columns_of
from trialsim.analysis.methods.logistic import Logistic
from trialsim.analysis.methods.proportional_odds import ProportionalOdds
from trialsim.records import ValueData

COLUMNS = ["InflMedium", "InflHigh", "TypeApartment", "TypeAtrium", "TypeTerrace", "ContHigh"]


@pytest.mark.parametrize("index, arm", [*enumerate(COLUMNS, start=1)])
def test_satisfaction_of_tenants_is_that_of_polr(index, arm, housing, regression_rows, method_of):
    """polr's search stops within 1e-6 of the maximum."""
    theirs, (data, names) = regression_rows("SV-209"), housing(arm)
    assert names[index - 1] == arm
    found = method_of(ProportionalOdds).estimate(data, favours=1)
    assert found.estimate.item() == pytest.approx(theirs["coef", index], abs=1e-6)
    assert found.std_error.item() == pytest.approx(theirs["se", index], rel=1e-6)


def test_its_likelihood_is_that_of_polr(housing, regression_rows):
    data, _ = housing("ContHigh")
    there = ~torch.isnan(data.value)
    level, n_levels = levels_of(data.value, there)
    _, *columns = columns_of(data.group, data.covariates, there, 2)
    fit = maximise_ordinal(OrdinalDesign(torch.stack(columns), level, there, n_levels))
    assert fit.log_likelihood.item() == pytest.approx(regression_rows("SV-209")["loglik", 1], rel=1e-8)


@pytest.mark.parametrize("columns", [0, 2])
def test_simulated_trials_are_those_of_the_witness(columns, simulated, method_of):
    data = simulated("ordinal", replicates=2, n=90, columns=columns, effect=0.6, seed=1)
    found = method_of(ProportionalOdds).estimate(data, favours=1)
    for row in range(2):
        x = np.column_stack([*([] if columns == 0 else data.covariates[row].T.numpy()), data.group[row].numpy()]).astype(float)
        beta, variance = proportional_odds(data.value[row].numpy().astype(int), x)
        assert found.estimate[row].item() == pytest.approx(beta[-1], abs=2e-6)
        assert found.std_error[row].item() == pytest.approx(np.sqrt(variance[-1, -1]), rel=1e-5)


def test_two_categories_are_logistic_regression(simulated, method_of):
    data = simulated("binary", replicates=5, columns=2, groups=3, effect=0.5, absent=True)
    ordinal, binary = (method_of(kind).estimate(data, favours=1) for kind in (ProportionalOdds, Logistic))
    torch.testing.assert_close(ordinal.estimate, binary.estimate, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(ordinal.std_error, binary.std_error, rtol=1e-9, atol=0)


def test_reversing_the_categories_reverses_the_sign(simulated, method_of):
    data = simulated("ordinal", replicates=5, columns=1, effect=0.5)
    up = method_of(ProportionalOdds).estimate(data, favours=1)
    down = method_of(ProportionalOdds).estimate(ValueData(value=4 - data.value, group=data.group, covariates=data.covariates), favours=1)
    torch.testing.assert_close(up.estimate, -down.estimate, rtol=1e-9, atol=1e-11)


def test_a_category_that_does_not_occur_is_no_category(simulated, method_of):
    data = simulated("ordinal", replicates=4, effect=0.4)
    gap = torch.where(data.value >= 2, data.value + 3, data.value)
    plain = method_of(ProportionalOdds).estimate(data, favours=1)
    found = method_of(ProportionalOdds).estimate(ValueData(value=gap, group=data.group), favours=1)
    assert torch.equal(found.estimate, plain.estimate)
    assert torch.equal(found.std_error, plain.std_error)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("ordinal", replicates=6, n=60, columns=1, seed=2)
    value, covariates = data.value.clone(), data.covariates.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 3.0
    value[3] = data.group[3] * 2.0 + value[3].clamp(max=1)  # the arms do not overlap
    covariates[4, :, 0] = 2.0 - data.group[4]
    found = method_of(ProportionalOdds).estimate(ValueData(value=value, group=data.group, covariates=covariates), favours=1)
    assert found.failure.tolist() == [0, 2, 3, 7, 4, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def test_numbers_do_not_depend_on_the_block(simulated, assert_same_bits, method_of):
    data = simulated("ordinal", n=31, columns=2, groups=3, absent=True)
    value = data.value.clone()
    value[::3] = value[::3].clamp(max=2)  # fewer categories in some replicates
    value[5, 5] = 9.0
    assert_same_bits(method_of(ProportionalOdds), ValueData(value=value, group=data.group, covariates=data.covariates, n_groups=3))
