"""Generalised estimating equations against geepack, statsmodels and a witness; failures, same bits."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from witness.regressions import gee

from trialsim.analysis.methods.gee import Gee, _problem, gee_fit

FAMILIES = {"gaussian": "normal", "binomial": "binary", "poisson": "poisson"}


def test_seizures_are_those_of_geepack(epilepsy, regression_rows, method_of):
    theirs = regression_rows("SV-208")
    found = method_of(Gee, family="poisson", correlation="exchangeable").estimate(epilepsy, favours=-1)
    fit = gee_fit(_problem(epilepsy, visit_effects=False), "poisson", "exchangeable")
    assert found.estimate.item() == pytest.approx(theirs["coef", 2], rel=1e-8)
    assert found.std_error.item() == pytest.approx(theirs["robust_se", 2], rel=1e-8)
    assert fit.scale.item() == pytest.approx(theirs["scale", 1], rel=1e-8)
    assert fit.correlations[1, 0].item() == pytest.approx(theirs["alpha", 1], rel=1e-8)


@pytest.mark.parametrize("structure", ["independence", "exchangeable", "ar1", "unstructured"])
@pytest.mark.parametrize("family", FAMILIES)
def test_simulated_trials_with_missing_visits_are_those_of_the_witness(family, structure, simulated_visits, method_of):
    data = simulated_visits(FAMILIES[family], replicates=2, n=60, missing=0.15, seed=3)
    found = method_of(Gee, family=family, correlation=structure).estimate(data, favours=1)
    assert found.failure.tolist() == [0, 0]
    for row in range(2):
        x = np.column_stack([np.ones(60), data.covariates[row].numpy(), data.group[row].numpy()])
        beta, variance, _ = gee(data.value[row].numpy(), x, family=family, structure=structure)
        assert found.estimate[row].item() == pytest.approx(beta[-1], rel=1e-8)
        assert found.std_error[row].item() == pytest.approx(np.sqrt(variance[-1, -1]), rel=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_independence_is_that_of_statsmodels(family, simulated_visits, method_of):
    data = simulated_visits(FAMILIES[family], replicates=2, n=80, missing=0.1)
    found = method_of(Gee, family=family).estimate(data, favours=1)
    kind = {"gaussian": sm.families.Gaussian(), "binomial": sm.families.Binomial(), "poisson": sm.families.Poisson()}[family]
    for row in range(2):
        seen = ~torch.isnan(data.value[row])
        patient = torch.arange(80)[:, None].expand(80, 4)[seen].numpy()
        x = np.column_stack([np.ones(len(patient)), data.covariates[row].numpy()[patient], data.group[row].numpy()[patient]])
        fit = sm.GEE(data.value[row][seen].numpy(), x, groups=patient, family=kind).fit(ctol=1e-12)
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-8)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-8)


def test_visit_effects_are_a_mean_per_visit(simulated_visits, method_of):
    """With every visit seen, a gaussian effect under independence does not change; with a trend over missing visits it does."""
    data = simulated_visits("normal", replicates=3, missing=0.0)
    plain, found = (method_of(Gee, visit_effects=effects).estimate(data, favours=1) for effects in (False, True))
    torch.testing.assert_close(found.estimate, plain.estimate)
    holes = data.value.clone()
    holes[:, :20, 3] = torch.nan
    holed = dataclasses.replace(data, value=holes + 5.0 * torch.arange(4))
    found = method_of(Gee, visit_effects=True, correlation="exchangeable").estimate(holed, favours=1)
    for row in range(3):
        seen = ~torch.isnan(holed.value[row])
        patient, visit = (index.numpy() for index in seen.nonzero(as_tuple=True))
        dummies = np.eye(4)[visit][:, 1:]
        x = np.column_stack([np.ones(len(patient)), dummies, data.covariates[row].numpy()[patient], data.group[row].numpy()[patient]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = sm.GEE(holed.value[row][seen].numpy(), x, groups=patient, cov_struct=sm.cov_struct.Exchangeable()).fit(ctol=1e-12)
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=2e-3)  # statsmodels corrects its correlation for 6 coefficients
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=2e-3)


def test_one_visit_is_one_value(simulated_visits, method_of):
    data = simulated_visits("binary", replicates=3, visits=1)
    for structure in ("independence", "exchangeable", "ar1", "unstructured"):
        found = method_of(Gee, family="binomial", correlation=structure).estimate(data, favours=1)
        for row in range(3):
            x = np.column_stack([np.ones(61), data.covariates[row].numpy(), data.group[row].numpy()])
            fit = sm.GLM(data.value[row, :, 0].numpy(), x, family=sm.families.Binomial()).fit(tol=1e-14, cov_type="HC0")
            assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-8)
            assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-8)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated_visits, method_of):
    data = simulated_visits("binary", replicates=6, n=40, seed=5)
    value, covariates = data.value.clone(), data.covariates.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 0.0
    value[3, data.group[3] == 1] = 0.0
    value[4, data.group[4] == 1] = 1.0
    covariates[5, :, 0] = 2.0 - data.group[5]
    broken = dataclasses.replace(data, value=value, covariates=covariates)
    found = method_of(Gee, family="binomial", correlation="exchangeable").estimate(broken, favours=1)
    assert found.failure.tolist() == [0, 2, 1, 6, 7, 4]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)
    constant = dataclasses.replace(data, value=torch.full_like(data.value, 0.1))
    assert method_of(Gee).estimate(constant, favours=1).failure.tolist() == [3] * 6


@pytest.mark.parametrize("structure", ["independence", "exchangeable", "ar1", "unstructured"])
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_do_not_depend_on_the_block(family, structure, simulated_visits, assert_same_bits, method_of):
    data = simulated_visits(FAMILIES[family], replicates=12, n=31, missing=0.1)
    value = data.value.clone()
    value[::2] = torch.nan_to_num(value[::2], nan=1.0)  # complete replicates beside others
    assert_same_bits(method_of(Gee, family=family, correlation=structure, visit_effects=True), dataclasses.replace(data, value=value))
