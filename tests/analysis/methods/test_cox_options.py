"""Cox regression beyond two arms, Efron's ties and Wald's interval: exact ties against R and enumeration, profile limits, several arms."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter
from scipy import stats
from statsmodels.discrete.conditional_models import ConditionalLogit

from trialsim.analysis import confidence_interval
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.partial_likelihood import evaluate
from trialsim.analysis.risk_sets import risk_sets
from trialsim.records import EventData

EXACT = ["SV-048", "SV-069", "SV-111", "SV-172"]


@pytest.mark.parametrize("case", EXACT)
def test_exact_ties_are_those_of_r(case, survival_rows, survival_data, method_of):
    own = survival_rows[survival_rows.case == case]
    values = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
    data = survival_data(own.dataset.iloc[0])
    found = method_of(Cox, ties="exact").estimate(data, favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    assert found.estimate.item() == pytest.approx(values["coef", 1], rel=1e-6)
    assert found.std_error.item() == pytest.approx(values["se", 1], rel=1e-6)
    assert [math.exp(low.item()), math.exp(high.item())] == pytest.approx([values["ci_lower", 1], values["ci_upper", 1]], rel=1e-6)
    for test, output in (("score", "score_test"), ("likelihood_ratio", "lr_test")):
        statistic = method_of(Cox, ties="exact", test=test).estimate(data, favours=-1).statistic.item()
        assert statistic**2 == pytest.approx(values[output, 1], rel=1e-6)
    risk = risk_sets(data.time, data.event, None, ties="exact")
    x = data.group.gather(-1, risk.order)[None].double()
    there = torch.ones_like(x[0])
    for coefficient, index in ((0.0, 1), (values["coef", 1], 2)):
        point = evaluate(torch.full((1, 1), coefficient, dtype=torch.float64), x, there, risk, arm_free=True)
        assert point.log_likelihood.item() == pytest.approx(values["loglik", index], rel=1e-9)


def test_every_exact_reference_case_is_used(survival_rows):
    assert sorted(survival_rows[survival_rows.spec.str.contains("exact")].case.unique()) == EXACT


def test_the_exact_likelihood_is_the_sum_over_all_subsets():
    """Enumerated; derivatives by central differences of the enumerated likelihood."""
    rng = np.random.default_rng(4)
    n = 12
    time, event = rng.integers(1, 5, n).astype(float), rng.random(n) < 0.7
    stratum, x = rng.integers(0, 2, n), rng.normal(size=(n, 2))

    def log_likelihood(b: np.ndarray) -> float:
        total = 0.0
        for level, t in itertools.product((0, 1), sorted(set(time))):
            risk = np.flatnonzero((time >= t) & (stratum == level))
            dead = [i for i in risk if event[i] and time[i] == t]
            if dead:
                total += x[dead].sum(0) @ b - math.log(sum(math.exp(x[list(chosen)].sum(0) @ b) for chosen in itertools.combinations(risk, len(dead))))
        return total

    b = np.array([0.3, -0.5])
    risk = risk_sets(torch.tensor(time)[None], torch.tensor(event)[None], torch.tensor(stratum)[None], ties="exact")
    ordered = torch.tensor(x.T)[:, None].gather(-1, risk.order.expand(2, 1, n))
    point = evaluate(torch.tensor(b)[:, None], ordered, torch.ones((1, n), dtype=torch.float64), risk, arm_free=True)
    assert point.log_likelihood.item() == pytest.approx(log_likelihood(b), rel=1e-12)
    h = 1e-4
    unit = np.eye(2) * h
    gradient = [(log_likelihood(b + e) - log_likelihood(b - e)) / (2 * h) for e in unit]
    np.testing.assert_allclose(point.score[:, 0].numpy(), gradient, rtol=1e-6)
    hessian = np.array(
        [
            [(log_likelihood(b + e + f) - log_likelihood(b + e - f) - log_likelihood(b - e + f) + log_likelihood(b - e - f)) / (4 * h * h) for f in unit]
            for e in unit
        ]
    )
    np.testing.assert_allclose(point.step[:, 0].numpy(), np.linalg.solve(-hessian, gradient), rtol=1e-4)


def test_exact_ties_with_covariates_are_conditional_logistic_regression(simulated_events, method_of):
    """The same likelihood in statsmodels: every patient at risk at every distinct event time, a stratum each."""
    data = simulated_events(replicates=1, n=60, columns=1, tied=True, seed=121)
    found = method_of(Cox, ties="exact").estimate(data, favours=-1)
    time, event = data.time[0].ceil().numpy(), data.event[0].numpy()
    columns = np.stack([data.covariates[0, :, 0].numpy(), data.group[0].numpy().astype(float)], axis=1)
    sets = [(event & (time == t), time >= t, t) for t in sorted(set(time[event]))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = ConditionalLogit(
            np.concatenate([dead[risk] for dead, risk, _ in sets]).astype(int),
            np.concatenate([columns[risk] for _, risk, _ in sets]),
            groups=np.concatenate([np.full(risk.sum(), t) for _, risk, t in sets]),
        ).fit(disp=False)
    assert found.estimate.item() == pytest.approx(fit.params[1], rel=1e-4)
    assert found.std_error.item() == pytest.approx(fit.bse[1], rel=1e-3)


def test_the_exact_score_test_is_the_log_rank_test(simulated_events, method_of):
    data = simulated_events(replicates=20, tied=True, strata=2, absent=True, seed=122)
    data = dataclasses.replace(data, event=data.event & (data.time >= 0))
    score = method_of(Cox, ties="exact", test="score").estimate(data, favours=-1).statistic
    torch.testing.assert_close(score, method_of(LogRank).estimate(data, favours=-1).statistic, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("options", [{"ties": "exact"}, {"interval": "profile"}, {"ties": "exact", "interval": "profile"}])
@pytest.mark.parametrize("shape", [{}, {"columns": 1, "strata": 2, "absent": True}])
def test_numbers_do_not_depend_on_the_block(options, shape, simulated_events, assert_same_bits, method_of):
    data = simulated_events(replicates=8, n=31, tied=True, **shape)
    assert_same_bits(method_of(Cox, **options), dataclasses.replace(data, event=data.event & (data.time >= 0)), favours=-1)


@pytest.mark.parametrize("name, covariates, stratum", [("lung", (), None), ("ovarian", ("age",), None), ("colon_death", ("age", "extent"), "sex")])
def test_profile_limits_are_where_the_likelihood_ratio_test_stops_rejecting(name, covariates, stratum, survival_data, method_of):
    data = survival_data(name, covariates, stratum)
    found = method_of(Cox, interval="profile").estimate(data, favours=-1)
    wald = method_of(Cox).estimate(data, favours=-1)
    assert found.estimate.item() == pytest.approx(wald.estimate.item(), rel=1e-9)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    assert low.item() < found.estimate.item() < high.item()
    profile = _profile(data)
    best = profile(found.estimate.item())
    for limit in (low.item(), high.item()):
        assert 2 * (best - profile(limit)) == pytest.approx(stats.norm.isf(0.025) ** 2, rel=1e-6)


def _profile(data: EventData):
    """log L_p(b) of the arm, Efron ties, from the formula with NumPy and a general optimiser."""
    from scipy.optimize import minimize

    time, event, arm = data.time[0].numpy(), data.event[0].numpy(), data.group[0].numpy().astype(float)
    z = np.zeros((len(time), 0)) if data.covariates is None else data.covariates[0].numpy()
    keep = ~np.isnan(z).any(axis=1)
    time, event, arm, z = time[keep], event[keep], arm[keep], z[keep]
    z = (z - z.mean(0)) / z.std(0)
    stratum = np.zeros(len(time)) if data.stratum is None else data.stratum[0].numpy()[keep]

    def log_likelihood(b: float, c: np.ndarray) -> float:
        eta = b * arm + z @ c
        total = eta[event].sum()
        for level in np.unique(stratum):
            for t in np.unique(time[event & (stratum == level)]):
                risk = np.exp(eta[(time >= t) & (stratum == level)]).sum()
                dead = np.exp(eta[event & (time == t) & (stratum == level)])
                total -= sum(math.log(risk - l / len(dead) * dead.sum()) for l in range(len(dead)))
        return total

    def profile(b: float) -> float:
        if not z.shape[1]:
            return log_likelihood(b, np.zeros(0))
        return -minimize(lambda c: -log_likelihood(b, c), np.zeros(z.shape[1]), method="BFGS", options={"gtol": 1e-6}).fun

    return profile


def test_where_few_events_bend_the_likelihood_the_profile_interval_covers_better(simulated_events, method_of):
    """2,000 trials of 24 patients, log HR 0: both sides of the profile interval miss about equally often; coverage within 3 MCSE and 0.015."""
    data = simulated_events(replicates=2000, n=24, seed=124)
    found = method_of(Cox, interval="profile").estimate(data, favours=-1)
    sound = found.failure == 0
    low, high = (limit[sound] for limit in confidence_interval(found, alpha_one_sided=0.025))
    assert sound.double().mean() > 0.99
    covered = ((low <= 0) & (high >= 0)).double().mean().item()
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000) + 0.015


def _three_arms(endpoint: str) -> tuple[EventData, pd.DataFrame]:
    from pathlib import Path

    table = pd.read_csv(Path(__file__).parents[2] / "reference" / "survival" / "colon_three_arms.csv")
    group = table.arm.map({"Obs": 0, "Lev+5FU": 1, "Lev": 2}).to_numpy().astype(np.int8)
    data = EventData(
        time=torch.tensor(table[f"{endpoint}_time"].to_numpy(float))[None],
        event=torch.tensor(table[endpoint].to_numpy() == 1)[None],
        group=torch.tensor(group)[None],
        n_groups=3,
    )
    return data, table


@pytest.mark.parametrize("endpoint, published", [("recurrence", (0.599, 0.475, 0.756)), ("death", (0.690, 0.546, 0.870))])
def test_the_three_arm_fit_of_the_colon_trial(endpoint, published, method_of):
    data, table = _three_arms(endpoint)
    found = method_of(Cox).estimate(data, favours=-1)
    low, high = confidence_interval(found, alpha_one_sided=0.025)
    assert tuple(round(math.exp(value.item()), 3) for value in (found.estimate, low, high)) == published
    frame = pd.DataFrame({"time": table[f"{endpoint}_time"], "event": table[endpoint], "fu": table.arm == "Lev+5FU", "lev": table.arm == "Lev"}).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = CoxPHFitter().fit(frame, "time", "event")
    assert found.estimate.item() == pytest.approx(fit.params_["fu"], rel=1e-5)
    assert found.std_error.item() == pytest.approx(fit.standard_errors_["fu"], rel=1e-5)


def test_an_arm_in_the_model_without_events_does_not_fail_the_comparison(simulated_events, method_of):
    data = simulated_events(replicates=4, n=90, seed=125)
    group = (torch.arange(90) % 3).to(torch.int8).expand(4, 90).contiguous()
    event = data.event.clone()
    event[1] &= group[1] != 2
    event[2] &= group[2] != 0
    group[3][group[3] == 1] = 2
    assert method_of(Cox).joint
    found = method_of(Cox).estimate(EventData(data.time, event, group, n_groups=3), favours=-1)
    assert found.failure.tolist() == [0, 0, 6, 2]


def test_options_that_exclude_each_other_are_named(method_of):
    assert list(method_of(Cox, robust=True, ties="exact").unsupported()) == ["robust: true with ties: exact of cox"]
    assert list(method_of(Cox, robust=True, interval="profile").unsupported()) == ["robust: true with interval: profile of cox"]
    assert list(method_of(Cox, ties="exact", interval="profile").unsupported()) == []
