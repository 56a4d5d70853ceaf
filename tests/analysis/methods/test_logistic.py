"""Logistic regression against statsmodels; g-computation against stacked equations; separation, failures, same bits, type I error."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from pydantic import ValidationError
from witness.regressions import standardised

from trialsim.analysis import p_value
from trialsim.analysis.methods.logistic import Logistic
from trialsim.records import ValueData


def _design(data, row):
    there = ~torch.isnan(data.value[row])
    columns = [torch.ones(int(there.sum()), dtype=torch.float64)]
    if data.covariates is not None:
        columns += data.covariates[row][there].unbind(-1)
    columns += [(data.group[row][there] == group).double() for group in (*range(2, data.n_groups), 1)]
    return data.value[row][there].numpy(), torch.stack(columns, dim=-1).numpy()


@pytest.mark.parametrize("columns, groups", [(0, 2), (2, 2), (1, 4)])
def test_estimates_are_those_of_statsmodels(columns, groups, simulated, method_of):
    data = simulated("binary", replicates=6, n=150, columns=columns, groups=groups, effect=0.5, absent=True)
    found = method_of(Logistic).estimate(data, favours=1)
    for row in range(6):
        y, x = _design(data, row)
        fit = sm.Logit(y, x).fit(disp=0, method="newton", tol=1e-12)
        assert found.n[row].item() == len(y)
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-9)
        assert p_value(found, sides=2)[row].item() == pytest.approx(fit.pvalues[-1], rel=1e-7)


@pytest.mark.parametrize("measure", ["difference", "ratio", "odds_ratio"])
def test_marginal_effects_are_those_of_stacked_equations(measure, simulated, method_of):
    data = simulated("binary", replicates=3, n=120, columns=2, effect=0.7, absent=True)
    found = method_of(Logistic, marginal=True, measure=measure).estimate(data, favours=1)
    for row in range(3):
        y, x = _design(data, row)
        estimate, std_error = standardised(y, x[:, 1:-1], x[:, -1])[measure]
        assert found.estimate[row].item() == pytest.approx(estimate, rel=1e-8)
        assert found.std_error[row].item() == pytest.approx(std_error, rel=1e-6)


def test_without_covariates_the_marginal_difference_is_that_of_two_proportions(simulated, method_of):
    data = simulated("binary", replicates=5, n=100, effect=0.5)
    test, reference = data.value[:, 1::2].mean(-1), data.value[:, ::2].mean(-1)
    for std_error in ("robust", "delta"):
        found = method_of(Logistic, marginal=True, std_error=std_error).estimate(data, favours=1)
        torch.testing.assert_close(found.estimate, test - reference)
        torch.testing.assert_close(found.std_error**2, test * (1 - test) / 50 + reference * (1 - reference) / 50)


def test_the_delta_method_is_the_gradient_through_the_inverse_information(simulated, method_of):
    data = simulated("binary", replicates=2, n=120, columns=2, effect=0.7)
    found = method_of(Logistic, marginal=True, std_error="delta").estimate(data, favours=1)
    for row in range(2):
        y, x = _design(data, row)
        fit = sm.Logit(y, x).fit(disp=0, method="newton", tol=1e-12)
        under = [np.column_stack([x[:, :-1], np.full(len(y), arm)]) for arm in (0.0, 1.0)]
        p = [fit.predict(each) for each in under]
        gradient = (under[1].T * (p[1] * (1 - p[1]))).mean(1) - (under[0].T * (p[0] * (1 - p[0]))).mean(1)
        assert found.estimate[row].item() == pytest.approx(p[1].mean() - p[0].mean(), rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(math.sqrt(gradient @ fit.cov_params() @ gradient), rel=1e-8)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("binary", replicates=8, n=60, columns=2, seed=2)
    value, covariates = data.value.clone(), data.covariates.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 0.0
    value[3] = 1.0
    value[4, data.group[4] == 1] = 0.0  # an arm without events
    value[5] = (covariates[5, :, 0] + data.group[5] > 0.5).double()  # a plane separates
    covariates[6, :, 0] = 2.0 - data.group[6]
    found = method_of(Logistic).estimate(ValueData(value=value, group=data.group, covariates=covariates), favours=1)
    assert found.failure.tolist() == [0, 2, 1, 3, 7, 7, 4, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def test_a_level_without_events_leaves_the_arms_odds_ratio(simulated, method_of):
    """Eight patients of a rare category without an event: their coefficient runs away, the arm's is that of the others."""
    data = simulated("binary", replicates=4, n=120, effect=0.5, seed=4)
    rare = torch.zeros((4, 120, 1), dtype=torch.float64)
    rare[:, :8] = 1.0
    value = data.value.clone()
    value[:, :8] = 0.0
    found = method_of(Logistic).estimate(ValueData(value=value, group=data.group, covariates=rare), favours=1)
    others = method_of(Logistic).estimate(ValueData(value=value[:, 8:], group=data.group[:, 8:]), favours=1)
    assert found.failure.tolist() == [0] * 4
    torch.testing.assert_close(found.estimate, others.estimate, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.std_error, others.std_error, rtol=1e-6, atol=0)


def test_a_covariate_that_says_nothing_new_changes_nothing(simulated, method_of):
    data = simulated("binary", replicates=3, n=90, columns=2)
    extra = torch.cat([data.covariates, data.covariates.sum(-1, keepdim=True), torch.full((3, 90, 1), 0.1, dtype=torch.float64)], dim=-1)
    plain = method_of(Logistic).estimate(data, favours=1)
    found = method_of(Logistic).estimate(ValueData(value=data.value, group=data.group, covariates=extra), favours=1)
    torch.testing.assert_close(found.std_error, plain.std_error, rtol=1e-10, atol=0)


@pytest.mark.parametrize("options", [{}, {"marginal": True}, {"marginal": True, "std_error": "delta", "measure": "ratio"}], ids=str)
def test_numbers_do_not_depend_on_the_block(options, simulated, assert_same_bits, method_of):
    assert_same_bits(method_of(Logistic, **options), simulated("binary", n=31, columns=3, groups=3, absent=True))


@pytest.mark.parametrize("options", [{"measure": "difference"}, {"measure": "ratio"}])
def test_a_difference_needs_to_be_marginal(options, method_of):
    with pytest.raises(ValidationError, match="needs marginal: true"):
        method_of(Logistic, **options)


@pytest.mark.parametrize("options, scale, inference", [({}, "odds_ratio", "log_odds_ratio"), ({"marginal": True}, "difference", "difference")])
def test_the_scale_follows_the_options(options, scale, inference, method_of):
    method = method_of(Logistic, **options)
    assert (method.scale, method.std_error_scale) == (scale, inference)
