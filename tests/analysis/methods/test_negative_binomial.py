"""Negative-binomial regression against MASS and a witness; adjusted dispersion, Poisson limit, failures, same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from witness.regressions import negative_binomial

from trialsim.analysis.linear_predictor import design_of
from trialsim.analysis.methods.negative_binomial import NegativeBinomial, likelihood_of, negative_binomial_fit
from trialsim.analysis.methods.poisson import Poisson
from trialsim.records import ValueData


def test_bladder_recurrences_are_those_of_glm_nb(bladder, regression_rows, method_of):
    theirs = regression_rows("SV-203")
    found = method_of(NegativeBinomial).estimate(bladder, favours=-1)
    fit = negative_binomial_fit(design_of(bladder))
    k = fit.dispersion.item()
    log_likelihood, information = likelihood_of(fit, design_of(bladder))
    assert found.estimate.item() == pytest.approx(theirs["coef", 2], rel=1e-7)
    assert found.std_error.item() == pytest.approx(theirs["se", 2], rel=1e-7)
    assert fit.fit.coefficients[0].item() == pytest.approx(theirs["coef", 1], rel=1e-8)
    assert 1 / k == pytest.approx(theirs["theta", 1], rel=1e-8)
    assert 1 / (k * k * information.sqrt().item()) == pytest.approx(theirs["theta_se", 1], rel=1e-6)
    assert 2 * log_likelihood.item() == pytest.approx(theirs["twologlik", 1], rel=1e-9)


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("columns, exposed", [(0, False), (2, True)])
def test_simulated_trials_are_those_of_the_witness(adjusted, columns, exposed, simulated):
    data = simulated("count", replicates=3, n=60, columns=columns, exposed=exposed, effect=0.4, seed=3)
    fit = negative_binomial_fit(design_of(data), adjusted=adjusted)
    for row in range(3):
        x = [np.ones(60), *([] if columns == 0 else data.covariates[row].T.numpy()), data.group[row].numpy()]
        offset = np.log(data.exposure[row].numpy()) if exposed else np.zeros(60)
        beta, k = negative_binomial(data.value[row].numpy(), np.column_stack(x).astype(float), offset, adjusted=adjusted)
        assert fit.dispersion[row].item() == pytest.approx(k, rel=1e-6)
        assert fit.fit.coefficients[-1, row].item() == pytest.approx(beta[-1], rel=1e-6)


def test_the_adjusted_dispersion_is_less_biased(simulated):
    """1,000 trials of 100 patients and 3 covariates, true k 0.5, MCSE of the mean 0.007: ML is 0.08 low, the adjusted one within 0.03."""
    data = simulated("count", replicates=1_000, n=100, columns=3, seed=4)
    plain, adjusted = (negative_binomial_fit(design_of(data), adjusted=adjusted).dispersion.mean().item() for adjusted in (False, True))
    assert plain < 0.45
    assert abs(adjusted - 0.5) < 0.03


def test_counts_no_more_variable_than_poissons_give_poissons_fit(simulated, method_of):
    data = simulated("poisson", replicates=40, n=80, columns=1, seed=5)
    fit = negative_binomial_fit(design_of(data))
    at_zero = fit.dispersion == 0
    assert 10 < at_zero.sum() < 30
    found, poisson = method_of(NegativeBinomial).estimate(data, favours=1), method_of(Poisson).estimate(data, favours=1)
    assert (found.failure == 0).all()
    assert torch.equal(found.std_error[at_zero], poisson.std_error[at_zero])
    assert (found.std_error[~at_zero] > poisson.std_error[~at_zero] * 0.999).all()


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("count", replicates=5, n=60, columns=1, seed=2)
    value, covariates = data.value.clone(), data.covariates.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 0.0
    value[3, data.group[3] == 1] = 0.0
    covariates[4, :, 0] = 2.0 - data.group[4]
    for dispersion in ("ml", "reml"):
        found = method_of(NegativeBinomial, dispersion=dispersion).estimate(ValueData(value=value, group=data.group, covariates=covariates), favours=1)
        assert found.failure.tolist() == [0, 2, 1, 6, 4]
        assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


@pytest.mark.parametrize("options", [{}, {"dispersion": "reml"}, {"marginal": True, "measure": "difference"}], ids=str)
def test_numbers_do_not_depend_on_the_block(options, simulated, assert_same_bits, method_of):
    data = simulated("count", n=31, columns=2, groups=3, exposed=True, absent=True)
    value = data.value.clone()
    value[3, 3] = 150.0  # a count far beyond those of the other replicates
    assert_same_bits(
        method_of(NegativeBinomial, **options), ValueData(value=value, group=data.group, covariates=data.covariates, exposure=data.exposure, n_groups=3)
    )
