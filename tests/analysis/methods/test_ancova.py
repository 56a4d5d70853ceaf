"""ANCOVA against statsmodels and R's lm; collinear covariates, failures, same bits, type I error."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from pydantic import ValidationError

from trialsim.analysis import p_value
from trialsim.analysis.methods.ancova import Ancova
from trialsim.records import ValueData

REFERENCE = Path(__file__).parents[2] / "reference"
KINDS = {False: "nonrobust", "hc2": "HC2", "hc3": "HC3"}


@pytest.mark.parametrize("robust", KINDS)
@pytest.mark.parametrize("columns", [0, 1, 4])
def test_estimates_are_those_of_statsmodels(robust, columns, simulated_values, method_of):
    data = simulated_values(replicates=6, columns=columns, difference=0.4, absent=True, seed=1)
    found = method_of(Ancova, robust=robust).estimate(data, favours=1)
    p = p_value(found, sides=2)
    for row in range(6):
        there = ~torch.isnan(data.value[row])
        design = [torch.ones(int(there.sum()), dtype=torch.float64), data.group[row][there].double()]
        if columns:
            design += data.covariates[row][there].unbind(-1)
        fit = sm.OLS(data.value[row][there].numpy(), torch.stack(design, dim=-1).numpy()).fit(cov_type=KINDS[robust], use_t=True)
        assert found.n[row].item() == fit.nobs
        assert found.df[row].item() == fit.df_resid
        assert found.estimate[row].item() == pytest.approx(fit.params[1], rel=1e-10)
        assert found.std_error[row].item() == pytest.approx(fit.bse[1], rel=1e-10)
        assert p[row].item() == pytest.approx(fit.pvalues[1], rel=1e-8)


@pytest.mark.parametrize("case, visit", [("MM-040", "VIS3"), ("MM-041", "VIS4")])
def test_a_trial_with_categories_and_missing_values_is_that_of_r(case, visit, method_of):
    rows = pd.read_csv(REFERENCE / "ancova.csv")
    values = {(row.output, row.term): row.value for row in rows[rows.case == case].itertuples()}
    table = pd.read_csv(REFERENCE / "fev_data.csv")
    table = table[visit == table.AVISIT]
    covariates = np.stack(
        [table.FEV1_BL, table.SEX == "Female", table.RACE == "Black or African American", table.RACE == "White"],
        axis=-1,
    ).astype(float)
    data = ValueData(
        value=torch.tensor(table.FEV1.to_numpy())[None],
        group=torch.tensor((table.ARMCD == "TRT").to_numpy().astype(np.int8))[None],
        covariates=torch.tensor(covariates)[None],
    )
    found = method_of(Ancova).estimate(data, favours=1)
    assert found.estimate.item() == pytest.approx(values["estimate", "ARMCDTRT"], rel=1e-8)
    assert found.std_error.item() == pytest.approx(values["se", "ARMCDTRT"], rel=1e-8)
    assert found.statistic.item() == pytest.approx(values["t", "ARMCDTRT"], rel=1e-8)
    assert found.df.item() == values["df", "1"]
    assert p_value(found, sides=2).item() == pytest.approx(values["p", "ARMCDTRT"], rel=1e-6)


def test_large_offsets_do_not_cost_digits(simulated_values, method_of):
    data = simulated_values(replicates=3, columns=2, seed=2)
    far = ValueData(value=data.value + 1e6, group=data.group, covariates=data.covariates + 2000.0)
    ancova = method_of(Ancova, robust="hc3")
    near, moved = ancova.estimate(data, favours=1), ancova.estimate(far, favours=1)
    torch.testing.assert_close(moved.estimate, near.estimate, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(moved.std_error, near.std_error, rtol=1e-7, atol=0)


def test_a_covariate_that_says_nothing_new_costs_no_degree_of_freedom(simulated_values, method_of):
    data = simulated_values(replicates=3, columns=2, seed=3)
    extra = torch.cat([data.covariates, data.covariates.sum(-1, keepdim=True), torch.full((3, 90, 1), 0.1, dtype=torch.float64)], dim=-1)
    ancova = method_of(Ancova)
    plain, found = ancova.estimate(data, favours=1), ancova.estimate(ValueData(value=data.value, group=data.group, covariates=extra), favours=1)
    assert torch.equal(found.df, plain.df)
    torch.testing.assert_close(found.std_error, plain.std_error, rtol=1e-10, atol=0)


@pytest.mark.parametrize("robust", KINDS)
def test_numbers_do_not_depend_on_the_block(robust, simulated_values, assert_same_bits, method_of):
    assert_same_bits(method_of(Ancova, robust=robust), simulated_values(replicates=70, n=101, columns=3, absent=True))


@pytest.mark.parametrize("robust", [False, "hc3"])
def test_a_replicate_that_cannot_be_analysed_says_why(robust, simulated_values, method_of):
    data = simulated_values(replicates=5, n=30, columns=1, seed=4)
    value, group, covariates = data.value.clone(), data.group.clone(), data.covariates.clone()
    value[1, group[1] == 0] = torch.nan
    covariates[2, :, 0] = 2.0 - group[2].double()
    value[3] = 3.0 + 0.1 * covariates[3, :, 0]
    found = method_of(Ancova, robust=robust).estimate(ValueData(value=value, group=group, covariates=covariates), favours=1)
    assert found.failure.tolist() == [0, 2, 4, 3, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def test_robust_variances_need_more_than_one_patient_of_a_kind(simulated_values, method_of):
    data = simulated_values(replicates=1, n=30, seed=5)
    lone = torch.zeros((1, 30, 1), dtype=torch.float64)
    lone[0, 4] = 1.0
    data = ValueData(value=data.value, group=data.group, covariates=lone)
    assert method_of(Ancova).estimate(data, favours=1).failure.item() == 0
    assert method_of(Ancova, robust="hc3").estimate(data, favours=1).failure.item() == 4


def test_type_one_error_is_alpha(method_of):
    """20,000 null trials of 40 patients with one prognostic covariate: 0.025 within 3 MCSE (0.0033)."""
    generator = torch.Generator().manual_seed(6)
    covariates = torch.randn((20_000, 40, 1), generator=generator, dtype=torch.float64)
    value = covariates[..., 0] + torch.randn((20_000, 40), generator=generator, dtype=torch.float64)
    group = (torch.arange(40) % 2).to(torch.int8).expand(20_000, 40)
    p = p_value(method_of(Ancova).estimate(ValueData(value=value, group=group, covariates=covariates), favours=1), sides=1)
    assert abs((p < 0.025).double().mean().item() - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 20_000)


def _arms_of(data: ValueData, row: int) -> np.ndarray:
    return np.column_stack([(data.group[row] == group).numpy() for group in (*range(2, data.n_groups), 1)]).astype(float)


@pytest.mark.parametrize("robust", KINDS)
def test_several_arms_share_one_residual_variance(robust, simulated, method_of):
    data = simulated("normal", replicates=4, n=90, columns=2, groups=3, effect=0.4)
    found = method_of(Ancova, robust=robust).estimate(data, favours=1)
    for row in range(4):
        x = np.column_stack([np.ones(90), data.covariates[row].numpy(), _arms_of(data, row)])
        fit = sm.OLS(data.value[row].numpy(), x).fit(cov_type=KINDS[robust], use_t=True)
        assert found.df[row].item() == fit.df_resid
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-9)


@pytest.mark.parametrize("robust, kind", [(False, "HC2"), ("hc2", "HC2"), ("hc3", "HC3")])
@pytest.mark.parametrize("groups", [2, 3])
def test_interactions_are_those_of_a_regression_on_centred_covariates(robust, kind, groups, simulated, method_of):
    data = simulated("normal", replicates=4, n=120, columns=2, groups=groups, effect=0.4)
    found = method_of(Ancova, interaction=True, robust=robust).estimate(data, favours=1)
    for row in range(4):
        centred = data.covariates[row].numpy() - data.covariates[row].numpy().mean(0)
        arms = _arms_of(data, row)
        products = np.column_stack([arm * column for arm in arms.T for column in centred.T])
        x = np.column_stack([np.ones(120), centred, products, arms])
        fit = sm.OLS(data.value[row].numpy(), x).fit(cov_type=kind, use_t=True)
        assert found.df[row].item() == fit.df_resid
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-9)


def test_a_contrast_is_the_slope_over_the_scores(simulated):
    data = simulated("normal", replicates=4, n=90, columns=1, groups=3)
    treatment = {"test": ["low", "high"], "reference": "placebo"}
    method = Ancova(method="ancova", endpoint="y", treatment=treatment, contrast={"placebo": 0, "low": 54, "high": 81})
    found = method.estimate(data, favours=-1)
    for row in range(4):
        dose = np.array([0.0, 54.0, 81.0])[data.group[row].numpy()]
        x = np.column_stack([np.ones(90), data.covariates[row].numpy(), dose])
        fit = sm.OLS(data.value[row].numpy(), x).fit()
        assert found.estimate[row].item() == pytest.approx(fit.params[-1], rel=1e-9)
        assert found.std_error[row].item() == pytest.approx(fit.bse[-1], rel=1e-9)
        assert found.statistic[row].item() == pytest.approx(-fit.tvalues[-1], rel=1e-9)
    swapped = torch.where(data.group > 0, 3 - data.group, data.group)  # asked of the second test arm, it is group 1
    other = method.comparing("high").estimate(dataclasses.replace(data, group=swapped), favours=-1)
    assert torch.equal(other.statistic, found.statistic)
    assert method.comparing("low") is method


@pytest.mark.parametrize(
    "options, message",
    [
        ({"contrast": {"a": 1.0}}, "a score for each of b, a"),
        ({"contrast": {"a": 1.0, "b": 1.0}}, "scores that differ"),
        ({"contrast": {"a": 1.0, "b": 0.0}, "interaction": True}, "cannot be combined"),
    ],
)
def test_a_contrast_that_makes_no_sense_is_refused(options, message, method_of):
    with pytest.raises(ValidationError, match=message):
        method_of(Ancova, **options)


@pytest.mark.parametrize("options", [{"interaction": True}, {"contrast": {"a": 1.0, "b": 0.0}}], ids=str)
def test_options_do_not_depend_on_the_block(options, simulated, assert_same_bits, method_of):
    data = simulated("normal", n=61, columns=2, groups=2 if "contrast" in options else 3, absent=True)
    assert_same_bits(method_of(Ancova, **options), data)
