"""Fine-Gray regression against cmprsk, the matrix of all weights, and what must hold of it; cause-specific Cox beside it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.analysis.competing import codes, mgus2, reference_rows, simulated
from tests.witness.competing_risks import fine_gray
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.fine_gray import FineGray
from trialsim.records import EventData


@pytest.mark.parametrize("case, covariates", [("SV-198", ()), ("SV-199", ("age",))])
def test_coefficient_and_error_are_those_of_cmprsk(case, covariates, method_of):
    rows = reference_rows(case)
    found = method_of(FineGray).estimate(mgus2(2, covariates), favours=-1)
    assert found.failure.item() == 0
    assert found.estimate.item() == pytest.approx(rows["coef", 1], rel=1e-6)
    assert found.std_error.item() == pytest.approx(rows["se", 1], rel=1e-6)


def test_cause_specific_regression_is_that_of_survival(method_of):
    rows = reference_rows("SV-200")
    found = method_of(Cox).estimate(mgus2(2, ("age",)), favours=-1)
    assert found.estimate.item() == pytest.approx(rows["coef", 1], rel=1e-6)
    assert found.std_error.item() == pytest.approx(rows["se", 1], rel=1e-6)


@pytest.mark.parametrize("shape", [{}, {"columns": 2}, {"groups": 3, "columns": 1}])
def test_coefficient_and_error_are_those_of_all_weights_written_out(shape, method_of):
    data = simulated(4, n=70, seed=3, tied=True, absent=True, log_hr=-0.4, **shape)
    found = method_of(FineGray).estimate(data, favours=-1)
    for r in range(4):
        time, cause, group, there = codes(data, r)
        columns = [] if data.covariates is None else list(data.covariates[r, there].T.numpy())
        columns += [(group == g).astype(float) for g in (*range(2, data.n_groups), 1)]
        beta, covariance = fine_gray(time, cause, np.stack(columns, axis=1))
        assert found.estimate[r].item() == pytest.approx(beta[-1], rel=1e-7, abs=1e-9)
        assert found.std_error[r].item() == pytest.approx(math.sqrt(covariance[-1, -1]), rel=1e-7)


def test_without_other_causes_it_is_robust_cox_regression_with_breslow_ties(method_of):
    data = dataclasses.replace(simulated(10, seed=4, tied=True, columns=1), competing=None)
    found, cox = method_of(FineGray).estimate(data, favours=-1), method_of(Cox, ties="breslow", robust=True).estimate(data, favours=-1)
    torch.testing.assert_close(found.estimate, cox.estimate, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.std_error, cox.std_error, rtol=1e-8, atol=0)


def test_without_censoring_patients_with_other_events_stay_at_risk_for_good(method_of):
    data = simulated(6, seed=9, log_hr=-0.5)
    whole = dataclasses.replace(data, competing=~data.event)
    forever = EventData(torch.where(data.event, data.time, 1e6), data.event, data.group)
    found, cox = method_of(FineGray).estimate(whole, favours=-1), method_of(Cox, robust=True).estimate(forever, favours=-1)
    torch.testing.assert_close(found.estimate, cox.estimate, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.std_error, cox.std_error, rtol=1e-8, atol=0)


def test_patients_with_a_missing_covariate_are_left_out(method_of):
    data = simulated(3, seed=2, columns=2)
    covariates = data.covariates.clone()
    covariates[:, ::7, 1] = torch.nan
    missing = torch.isnan(covariates).any(-1)
    found = method_of(FineGray).estimate(dataclasses.replace(data, covariates=covariates), favours=-1)
    without = dataclasses.replace(data, time=data.time.masked_fill(missing, -1.0), event=data.event & ~missing)
    assert torch.equal(found.estimate, method_of(FineGray).estimate(without, favours=-1).estimate)
    assert found.n.tolist() == (~missing).sum(-1).tolist()


@pytest.mark.parametrize("shape", [{}, {"columns": 2}, {"groups": 3}])
def test_numbers_do_not_depend_on_the_block(shape, method_of, assert_same_bits):
    assert_same_bits(method_of(FineGray), simulated(70, n=101, tied=True, absent=True, **shape), favours=-1)
    assert_same_bits(method_of(FineGray, at="6 days"), simulated(8, n=101, tied=True, **shape), favours=-1)


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    data = simulated(5, n=40, seed=7)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 0
    event[3] &= group[3] == 1
    broken = dataclasses.replace(data, event=event, group=group)
    found = method_of(FineGray).estimate(broken, favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 6, 0]
    for field in (found.statistic, found.estimate, found.std_error):
        assert torch.equal(torch.isnan(field), found.failure != 0)
    same = dataclasses.replace(data, covariates=data.group[..., None].double())
    assert method_of(FineGray).estimate(same, favours=-1).failure.tolist() == [4] * 5


def test_null_trials_are_rejected_and_estimates_spread_as_they_should(method_of):
    """2,000 null trials of 200 patients: both tails within 3 MCSE (0.0105) and 0.003 of 0.025; SD of the estimate within 5 % of the mean SE."""
    found = method_of(FineGray).estimate(simulated(2000, n=200, seed=21), favours=-1)
    assert (found.failure == 0).all()
    for rejected in (found.statistic > 1.959964, found.statistic < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 2000) + 0.003
    assert found.estimate.std().item() == pytest.approx(found.std_error.mean().item(), rel=0.05)
    assert (method_of(FineGray).estimate(simulated(4, n=400, seed=5, log_hr=-1.2), favours=-1).statistic > 2).all()
