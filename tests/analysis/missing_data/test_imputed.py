"""The antidepressant trial imputed: against rbmi, published numbers, and itself in other blocks."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.analysis.methods.ancova import Ancova
from trialsim.analysis.methods.t_test import TTest
from trialsim.analysis.missing_data import Imputation, estimate_imputed
from trialsim.analysis.missing_data.conditional_means import conditional_means
from trialsim.analysis.real_data import Question, Visit, visit_data
from trialsim.analysis.repeated_measures.fitting import fit_repeated_measures
from trialsim.data import read_table
from trialsim.records import FAILURES, Noise, ValueData, VisitData
from trialsim.rng import Block, Stream

REFERENCE = Path(__file__).parents[2] / "reference"
ROWS = list(csv.DictReader((REFERENCE / "imputation_rbmi.csv").read_text().splitlines()))
VALUES = list(csv.DictReader((REFERENCE / "imputed_values_rbmi.csv").read_text().splitlines()))


def _method(**imputation: object) -> Ancova:
    return Ancova(method="ancova", endpoint="y", treatment={"test": "t", "reference": "r"}, covariates=("BASVAL",), imputation=Imputation(**imputation))


def _antidepressant(visit: str, seed: int = 1) -> VisitData:
    table = read_table(REFERENCE / "antidepressant.csv")
    question = Question(
        test="DRUG",
        reference="PLACEBO",
        arms={},
        columns={"arm": "THERAPY", "value": "CHANGE", "visit": "VISIT", "id": "PATIENT"},
        covariates=("BASVAL",),
        visit=Visit(visit),
    )
    return dataclasses.replace(visit_data(table, question), noise=Noise(Stream(seed, "imputation/a"), Block(0, 1)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['case']}-{row['visit']}")
def test_conditional_means_with_the_jackknife_are_those_of_rbmi(row):
    """To what rbmi's optimiser leaves: 1e-4 of the estimate, 1e-3 relative of its standard error. Signs: drug minus placebo here."""
    found = estimate_imputed(_method(method=row["strategy"], delta=float(row["delta"]), variance="jackknife"), _antidepressant(row["visit"]), favours=-1)
    assert found.estimate.item() == pytest.approx(-float(row["estimate"]), abs=1e-4)
    assert found.std_error.item() == pytest.approx(float(row["std_error"]), rel=1e-3)
    assert found.statistic.item() == pytest.approx(-found.estimate.item() / found.std_error.item())
    assert found.df is None


@pytest.mark.parametrize("case", sorted({row["case"] for row in VALUES}))
def test_the_imputed_values_are_those_of_rbmi(case):
    """Their fit stops at a deviance of 3494.20285621, 6e-6 above ours: sqrt(6e-6) = 0.0025 standard errors of its parameters away, 2e-3 in a mean."""
    rows = [row for row in VALUES if row["case"] == case]
    table = read_table(REFERENCE / "antidepressant.csv")
    patients = list(dict.fromkeys(table.text["PATIENT"] if "PATIENT" in table.text else [f"{p:g}" for p in table.columns["PATIENT"]]))
    for visit in "567":
        data = _antidepressant(visit)
        value = conditional_means(data, fit_repeated_measures(data, covariate_by_visit=True), Imputation(method=rows[0]["strategy"]))[0, 0]
        for row in rows:
            if row["visit"] == visit:
                assert value[patients.index(row["patient"])].item() == pytest.approx(float(row["value"]), abs=2e-3)
    assert -2 * fit_repeated_measures(_antidepressant("7"), covariate_by_visit=True).log_likelihood.item() < 3494.20285621


@pytest.mark.parametrize("strategy", ["mar", "jump_to_reference", "copy_reference", "copy_increments"])
def test_multiple_imputation_agrees_with_conditional_means(strategy):
    """The mean over 400 imputations is the estimate by conditional means, within 4 Monte Carlo standard errors, sqrt(B / m)."""
    data = _antidepressant("7")
    exact = estimate_imputed(_method(method=strategy, variance="jackknife"), data, favours=-1)
    pooled = estimate_imputed(_method(method=strategy, imputations=400), data, favours=-1)
    # B is at most the total variance; a tenth to a quarter of it here.
    assert pooled.estimate.item() == pytest.approx(exact.estimate.item(), abs=4 * 0.5 * pooled.std_error.item() / np.sqrt(400))


def test_delta_shifts_the_test_arm_by_the_share_it_imputes():
    data = _antidepressant("7")
    near, far = (estimate_imputed(_method(imputations=20, delta=delta), data, favours=-1) for delta in (0.0, 2.0))
    assert far.estimate.item() - near.estimate.item() == pytest.approx(2 * 0.241361, abs=2e-4), "rbmi: 0.241361 a unit"


@pytest.mark.parametrize("variance", ["rubin", "jackknife"])
def test_a_replicate_has_the_same_answer_in_any_block(variance):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(6, 24, 3)).cumsum(-1)
    y[:, 5:9, 2] = np.nan
    y[:, 9, 1:] = np.nan
    y[0, 3, 0] = np.nan
    data = VisitData(
        value=torch.from_numpy(y),
        group=torch.arange(24).remainder(2).to(torch.int8).expand(6, 24),
        at=2,
        covariates=torch.from_numpy(rng.normal(size=(6, 24, 1))),
        noise=Noise(Stream(1, "imputation/a"), Block(0, 6)),
    )
    method = _method(imputations=5, method="copy_increments", variance=variance)
    everyone = estimate_imputed(method, data, favours=1)
    assert (everyone.failure == 0).all()
    for rows in (torch.tensor([4]), torch.tensor([1, 2, 5])):
        some = estimate_imputed(method, data.of(rows), favours=1)
        np.testing.assert_array_equal(some.std_error.numpy(), everyone.std_error[rows].numpy())
        np.testing.assert_array_equal(some.estimate.numpy(), everyone.estimate[rows].numpy())


def test_nothing_missing_is_the_complete_analysis():
    rng = np.random.default_rng(8)
    value = torch.from_numpy(rng.normal(size=(2, 20, 2)))
    group = torch.arange(20).remainder(2).to(torch.int8).expand(2, 20)
    data = VisitData(value=value, group=group, at=1, noise=Noise(Stream(1, "i"), Block(0, 2)))
    method = TTest(method="t_test", endpoint="y", treatment={"test": "t", "reference": "r"}, imputation=Imputation(imputations=3))
    complete = method.estimate(ValueData(value=value[..., 1], group=group), favours=1)
    found = estimate_imputed(method, data, favours=1)
    torch.testing.assert_close(found.estimate, complete.estimate, rtol=1e-14, atol=0)
    torch.testing.assert_close(found.std_error, complete.std_error, rtol=1e-14, atol=0)
    torch.testing.assert_close(found.df, complete.df, rtol=1e-12, atol=0)


def test_an_arm_without_a_value_at_a_visit_fails_with_its_reason():
    value = torch.randn((2, 20, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    group = torch.arange(20).remainder(2).to(torch.int8).expand(2, 20)
    value[0, group[0] == 1, 1] = torch.nan
    data = VisitData(value=value, group=group, at=1, noise=Noise(Stream(1, "i"), Block(0, 2)))
    for variance in ("rubin", "jackknife"):
        method = TTest(method="t_test", endpoint="y", treatment={"test": "t", "reference": "r"}, imputation=Imputation(imputations=3, variance=variance))
        found = estimate_imputed(method, data, favours=1)
        assert FAILURES[found.failure[0].item()] == "an arm has no value at a visit"
        assert torch.isnan(found.statistic[0])
        assert found.failure[1] == 0
