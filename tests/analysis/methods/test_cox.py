"""Cox regression against R's survival package and lifelines, on real data; same bits, failures, type I error."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter

from trialsim.analysis import confidence_interval, normal_statistic
from trialsim.analysis.methods.cox import Cox
from trialsim.records import EventData

CASES = ["SV-008", "SV-009", "SV-049", "SV-068", "SV-110", "SV-112", "SV-113", "SV-130", "SV-131", "SV-132", "SV-133", "SV-170", "SV-171"]


def _case(rows: pd.DataFrame, case: str):
    own = rows[rows.case == case]
    values = {(row.output, row.index_): row.value for row in own.rename(columns={"index": "index_"}).itertuples()}
    spec = own.spec.iloc[0]
    stratum = re.search(r"strata\(([\w.]+)\)", spec)
    covariates = ("age",) if "age" in spec or "cov" in spec else ()
    return own.dataset.iloc[0], values, covariates, None if stratum is None else stratum[1], "breslow" if "breslow" in spec else "efron"


@pytest.mark.parametrize("case", CASES)
def test_estimates_and_tests_are_those_of_r(case, survival_rows, survival_data, method_of):
    name, values, covariates, stratum, ties = _case(survival_rows, case)
    data = survival_data(name, covariates, stratum)
    found = method_of(Cox, ties=ties, alpha=0.05).estimate(data, favours=-1)
    assert found.failure.item() == 0
    assert found.estimate.item() == pytest.approx(values["coef", 1], rel=1e-6)
    if ("se", 1) in values:
        assert found.std_error.item() == pytest.approx(values["se", 1], rel=1e-6)
    if ("ci_lower", 1) in values:
        low, high = confidence_interval(found, alpha_one_sided=0.025)
        assert math.exp(low.item()) == pytest.approx(values["ci_lower", 1], rel=1e-6)
        assert math.exp(high.item()) == pytest.approx(values["ci_upper", 1], rel=1e-6)
    if ("robust_se", 1) in values:
        robust = method_of(Cox, ties=ties, robust=True).estimate(data, favours=-1)
        assert robust.std_error.item() == pytest.approx(values["robust_se", 1], rel=1e-6)
        assert robust.estimate.item() == found.estimate.item()
    for test, output in (("score", "score_test"), ("likelihood_ratio", "lr_test")):
        if (output, 1) in values:
            statistic = method_of(Cox, ties=ties, test=test).estimate(data, favours=-1).statistic.item()
            assert statistic**2 == pytest.approx(values[output, 1], rel=1e-6)
            assert math.copysign(1, statistic) == -math.copysign(1, values["coef", 1])


def test_every_reference_case_is_used(survival_rows):
    cox = survival_rows[survival_rows.method.str.startswith("cox") & ~survival_rows.spec.str.contains("exact")]
    assert sorted(cox.case.unique()) == sorted(CASES)


@pytest.mark.parametrize(
    "name, covariates, stratum",
    [("lung", ("age", "ph.ecog"), None), ("colon_death", ("node4", "age", "extent"), "sex"), ("pbc", ("age", "bili", "albumin"), "stage")],
)
def test_adjusted_estimates_are_those_of_lifelines(name, covariates, stratum, survival_data, method_of):
    data = survival_data(name, covariates, stratum)
    found = method_of(Cox).estimate(data, favours=-1)
    columns = dict(zip(covariates, data.covariates[0].T.numpy(), strict=True))
    table = pd.DataFrame({"time": data.time[0].numpy(), "event": data.event[0].numpy(), "arm": data.group[0].numpy().astype(float), **columns})
    if stratum is not None:
        table["stratum"] = data.stratum[0].numpy()
    table = table.dropna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines and pandas disagree about deprecations
        fit = CoxPHFitter().fit(table, "time", "event", strata=None if stratum is None else "stratum")
    assert found.n.item() == len(table)
    assert found.estimate.item() == pytest.approx(fit.params_["arm"], rel=1e-5)
    assert found.std_error.item() == pytest.approx(fit.standard_errors_["arm"], rel=1e-5)


def test_patients_with_a_missing_covariate_are_left_out(survival_data, method_of):
    data = survival_data("lung", ("age", "ph.ecog"))
    complete = ~torch.isnan(data.covariates[0]).any(-1)
    assert not complete.all()
    only = EventData(*(getattr(data, field)[:, complete] for field in ("time", "event", "group")), covariates=data.covariates[:, complete])
    cox = method_of(Cox)
    found, expected = cox.estimate(data, favours=-1), cox.estimate(only, favours=-1)
    assert found.n.item() == int(complete.sum())
    assert found.n_events.item() == expected.n_events.item()
    assert found.estimate.item() == pytest.approx(expected.estimate.item(), rel=1e-10)


@pytest.mark.parametrize("name, covariates, stratum", [("lung", (), None), ("colon_death", ("age", "extent"), "sex"), ("aml", (), None)])
def test_robust_errors_are_those_of_lifelines(name, covariates, stratum, survival_data, method_of):
    data = survival_data(name, covariates, stratum)
    # lifelines' sandwich knows no Efron weights: break the ties, events in the order of the file.
    time = data.time + torch.arange(data.time.shape[-1]) * 1e-7 + 1e-4 * (~data.event)
    found = method_of(Cox, robust=True).estimate(dataclasses.replace(data, time=time), favours=-1)
    columns = {} if data.covariates is None else dict(zip(covariates, data.covariates[0].T.numpy(), strict=True))
    table = pd.DataFrame({"time": time[0].numpy(), "event": data.event[0].numpy(), "arm": data.group[0].numpy().astype(float), **columns})
    if stratum is not None:
        table["stratum"] = data.stratum[0].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = CoxPHFitter().fit(table, "time", "event", strata=None if stratum is None else "stratum", robust=True)
    assert found.estimate.item() == pytest.approx(fit.params_["arm"], rel=1e-5)
    assert found.std_error.item() == pytest.approx(fit.standard_errors_["arm"], rel=1e-5)


def test_the_robust_error_is_that_of_the_jackknife(survival_data, method_of):
    """The sandwich is the infinitesimal jackknife; leaving patients out one at a time gives nearly the same, ties and all."""
    data = survival_data("lung", ("age",))
    n = data.time.shape[-1]
    without = dataclasses.replace(
        data,
        time=torch.where(torch.eye(n, dtype=torch.bool), -1.0, data.time.expand(n, n)),
        event=data.event.expand(n, n).clone(),
        group=data.group.expand(n, n).clone(),
        covariates=data.covariates.expand(n, n, 1).clone(),
    )
    for ties in ("efron", "breslow"):
        each = method_of(Cox, ties=ties).estimate(without, favours=-1).estimate
        jackknife = ((each - each.mean()) ** 2).sum().sqrt().item()
        robust = method_of(Cox, ties=ties, robust=True).estimate(data, favours=-1).std_error.item()
        assert robust == pytest.approx(jackknife, rel=0.04)


@pytest.mark.parametrize("robust", [False, True])
def test_robust_numbers_do_not_depend_on_the_block(robust, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(Cox, robust=robust), simulated_events(replicates=70, n=101, columns=1, strata=2, tied=True), favours=-1)


@pytest.mark.parametrize("test", ["wald", "score", "likelihood_ratio"])
@pytest.mark.parametrize("shape", [{}, {"tied": True}, {"strata": 3, "tied": True}, {"columns": 3}, {"columns": 2, "strata": 3, "tied": True, "absent": True}])
def test_numbers_do_not_depend_on_the_block(test, shape, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(Cox, test=test), simulated_events(replicates=70, n=101, **shape), favours=-1)


def test_the_three_tests_agree_where_there_is_much_information(simulated_events, method_of):
    data = simulated_events(replicates=8, n=4000, columns=1, log_hr=-0.2, seed=4)
    wald, score, ratio = (method_of(Cox, test=test).estimate(data, favours=-1).statistic for test in ("wald", "score", "likelihood_ratio"))
    torch.testing.assert_close(wald, score, rtol=0.02, atol=0.02)
    torch.testing.assert_close(wald, ratio, rtol=0.02, atol=0.02)


def test_the_sign_favours_the_test_arm(simulated_events, method_of):
    data = simulated_events(replicates=4, n=300, log_hr=-1.0, seed=6)
    lower_is_better = method_of(Cox).estimate(data, favours=-1)
    assert (lower_is_better.statistic > 0).all()
    assert (lower_is_better.estimate < 0).all()
    assert torch.equal(method_of(Cox).estimate(data, favours=1).statistic, -lower_is_better.statistic)


@pytest.mark.parametrize("columns", [0, 2])
def test_a_replicate_that_cannot_be_analysed_says_why(columns, simulated_events, method_of):
    data = simulated_events(replicates=5, n=40, columns=columns, seed=7)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 0
    event[3] &= group[3] == 1
    found = method_of(Cox).estimate(EventData(time=data.time, event=event, group=group, covariates=data.covariates), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 6, 0]
    failed = found.failure != 0
    for field in (found.statistic, found.estimate, found.std_error):
        assert torch.equal(torch.isnan(field), failed)
    assert found.n_events.tolist()[1] == 0


def test_an_arm_that_is_also_a_covariate_is_a_singular_design(simulated_events, method_of):
    data = simulated_events(replicates=2, seed=8)
    found = method_of(Cox).estimate(EventData(time=data.time, event=data.event, group=data.group, covariates=data.group[..., None].double()), favours=-1)
    assert found.failure.tolist() == [4, 4]


@pytest.mark.parametrize("columns", [0, 2])
def test_type_one_error_is_alpha(columns, simulated_events, method_of):
    """6,000 null trials of 160 patients: one-sided level 0.025 within 3 MCSE (0.0020) and the small-sample liberality of Wald's test (0.002)."""
    cox = method_of(Cox)
    z = torch.cat([normal_statistic(cox.estimate(simulated_events(replicates=500, n=160, columns=columns, seed=100 + k), favours=-1)) for k in range(12)])
    mcse = math.sqrt(0.025 * 0.975 / len(z))
    for rejected in (z > 1.959964, z < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * mcse + 0.002


def test_estimates_are_spread_as_their_standard_errors_say(simulated_events, method_of):
    """2,000 trials with log HR -0.4, one prognostic covariate: bias within 4 MCSE and 0.01, SD of the estimate within 5 % of the mean SE."""
    found = method_of(Cox).estimate(simulated_events(replicates=2000, n=160, columns=1, log_hr=-0.4, seed=31), favours=-1)
    log_hr = found.estimate.numpy()
    assert abs(log_hr.mean() + 0.4) < 4 * log_hr.std() / np.sqrt(len(log_hr)) + 0.01
    assert log_hr.std() == pytest.approx(found.std_error.mean().item(), rel=0.05)
