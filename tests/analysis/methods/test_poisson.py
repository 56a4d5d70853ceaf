"""Poisson regression against R and statsmodels; rates by g-computation, failures, same bits."""

from __future__ import annotations

import math

import pytest
import statsmodels.api as sm
import torch
from pydantic import ValidationError

from trialsim.analysis.methods.poisson import Poisson
from trialsim.records import ValueData


def test_bladder_recurrences_are_those_of_r(bladder, regression_rows, method_of):
    theirs = regression_rows("SV-202")
    found = method_of(Poisson).estimate(bladder, favours=-1)
    assert found.estimate.item() == pytest.approx(theirs["coef", 2], rel=1e-8)
    assert found.std_error.item() == pytest.approx(theirs["se", 2], rel=1e-7)  # glm stops at 1e-8 of the deviance
    assert found.statistic.item() > 0
    assert found.n_events.item() == bladder.value.sum().item()


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("columns, groups, exposed", [(0, 2, False), (2, 2, True), (1, 3, True)])
def test_estimates_are_those_of_statsmodels(robust, columns, groups, exposed, simulated, method_of):
    data = simulated("count", replicates=4, n=120, columns=columns, groups=groups, exposed=exposed, effect=0.4, absent=True)
    found = method_of(Poisson, robust=robust).estimate(data, favours=1)
    for row in range(4):
        there = ~torch.isnan(data.value[row])
        x = [torch.ones(int(there.sum()), dtype=torch.float64)]
        x += [] if data.covariates is None else data.covariates[row][there].unbind(-1)
        x += [(data.group[row][there] == group).double() for group in (*range(2, groups), 1)]
        exposure = None if data.exposure is None else data.exposure[row][there].numpy()
        model = sm.GLM(data.value[row][there].numpy(), torch.stack(x, dim=-1).numpy(), family=sm.families.Poisson(), exposure=exposure)
        fit = model.fit(tol=1e-14, cov_type="HC0" if robust else "nonrobust")
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-9)


def test_the_marginal_ratio_is_the_conditional_one_with_its_robust_error(simulated, method_of):
    data = simulated("count", replicates=5, columns=2, exposed=True, effect=0.4)
    conditional = method_of(Poisson, robust=True).estimate(data, favours=1)
    marginal = method_of(Poisson, marginal=True).estimate(data, favours=1)
    torch.testing.assert_close(marginal.estimate, conditional.estimate, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(marginal.std_error, conditional.std_error, rtol=1e-10, atol=0)


def test_the_marginal_difference_without_covariates_is_that_of_the_rates(simulated, method_of):
    data = simulated("count", replicates=5, n=100, exposed=True)
    found = method_of(Poisson, marginal=True, measure="difference").estimate(data, favours=1)
    rate, variance = [], []
    for arm in (0, 1):
        y, t = data.value[:, arm::2], data.exposure[:, arm::2]
        rate.append(y.sum(-1) / t.sum(-1))
        variance.append(((y - rate[arm][:, None] * t) ** 2).sum(-1) / t.sum(-1) ** 2)
    torch.testing.assert_close(found.estimate, rate[1] - rate[0])
    torch.testing.assert_close(found.std_error**2, variance[0] + variance[1])


def test_a_replicate_that_cannot_be_analysed_says_why(simulated, method_of):
    data = simulated("count", replicates=6, n=60, columns=1, exposed=True, seed=2)
    value, covariates, exposure = data.value.clone(), data.covariates.clone(), data.exposure.clone()
    value[1, data.group[1] == 1] = torch.nan
    value[2] = 0.0
    value[3, data.group[3] == 1] = 0.0
    covariates[4, :, 0] = 2.0 - data.group[4]
    exposure[5, :10] = 0.0
    found = method_of(Poisson).estimate(ValueData(value=value, group=data.group, covariates=covariates, exposure=exposure), favours=1)
    assert found.failure.tolist() == [0, 2, 1, 6, 4, 0]
    assert found.n.tolist()[5] == 50
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


@pytest.mark.parametrize("options", [{}, {"robust": True}, {"marginal": True, "measure": "difference"}], ids=str)
def test_numbers_do_not_depend_on_the_block(options, simulated, assert_same_bits, method_of):
    assert_same_bits(method_of(Poisson, **options), simulated("count", n=31, columns=3, groups=3, exposed=True, absent=True))


def test_a_difference_needs_to_be_marginal(method_of):
    with pytest.raises(ValidationError, match="needs marginal: true"):
        method_of(Poisson, measure="difference")


def test_type_one_error_needs_the_sandwich_where_counts_are_overdispersed(simulated, method_of):
    """4,000 null trials, variance μ + μ²/2: the robust test holds 0.05 within 4 MCSE, the naive one is far off."""
    data = simulated("count", replicates=4_000, n=200, seed=7)
    shares = {
        robust: (method_of(Poisson, robust=robust).estimate(data, favours=1).statistic.abs() > 1.959964).double().mean().item() for robust in (True, False)
    }
    assert abs(shares[True] - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4_000)
    assert shares[False] > 0.09
