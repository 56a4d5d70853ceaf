"""Weighted log-rank tests and tests of trend against R, simtrial, nphRCT and plain formulas; same bits, failures."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from witness.logrank import weighted_logrank

from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.several_arms import several_arms
from trialsim.analysis.weighted_logrank import weighted_scores
from trialsim.records import EventData

METHODS = {"peto_peto_G1": 2, "FH": 18, "modestly_weighted": 4}  # how many reference cases there are


def _weights(method: str, spec: str) -> object:
    if method == "peto_peto_G1":
        return "peto_peto"
    numbers = [float(number) for number in re.findall(r"=([\d.]+)", spec)]
    if method == "FH":
        return {"fleming_harrington": {"rho": numbers[0], "gamma": numbers[1]}}
    return {"magirr_burman": {"delay": f"{numbers[0]} days"}}


@pytest.mark.parametrize("method", METHODS)
def test_scores_variances_and_statistics_are_those_of_the_references(method, survival_method_rows, survival_data, method_of):
    rows = survival_method_rows[survival_method_rows.method == method]
    cases = list(rows.groupby("case"))
    assert len(cases) == METHODS[method]
    for case, own in cases:
        values = {(output.lower(), int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
        analysis = method_of(LogRank, weights=_weights(method, own.spec.iloc[0]))
        data = survival_data(own.dataset.iloc[0])
        found = analysis.estimate(data, favours=-1)
        score = weighted_scores(data, (analysis.weights,))
        u, v, z = score.u[0].item(), score.covariance[0, 0].item(), -found.statistic.item()
        assert z == pytest.approx(u / v**0.5, rel=1e-12), case
        if method == "peto_peto_G1":
            assert z**2 == pytest.approx(values["chisq", 1], rel=1e-6), case
            assert u == pytest.approx(values["observed", 2] - values["expected", 2], rel=1e-6), case
            continue
        assert u == pytest.approx(values["u", 1], rel=1e-6), case
        assert v == pytest.approx(values.get(("v", 1), values.get(("v_u", 1))), rel=1e-6), case
        assert z == pytest.approx(values["z", 1], rel=1e-6), case
        if ("z_simtrial", 1) in values:
            assert -z == pytest.approx(values["z_simtrial", 1], rel=1e-6), case


PAIRS = {
    "peto_peto": lambda t, s: s(t, True),
    "fleming_harrington": lambda t, s: s(t, True) ** 0.3 * (1 - s(t, True)) ** 2,
    "magirr_burman": lambda t, s: 1 / max(s(t, True), s(4.0, True)),
}
OPTIONS = {
    "peto_peto": "peto_peto",
    "fleming_harrington": {"fleming_harrington": {"rho": 0.3, "gamma": 2}},
    "magirr_burman": {"magirr_burman": {"delay": "4 days"}},
}


@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize("weights", PAIRS)
def test_simulated_trials_are_those_of_the_witness(weights, strata, simulated_events, method_of):
    data = simulated_events(replicates=6, n=90, tied=True, absent=True, strata=strata, seed=51)
    z = method_of(LogRank, weights=OPTIONS[weights]).estimate(data, favours=-1).statistic
    for row in range(6):
        there = (data.time[row] >= 0).numpy()
        time, event, group = (getattr(data, name)[row].numpy()[there] for name in ("time", "event", "group"))
        u, v = weighted_logrank(time, event, group, [PAIRS[weights]], None if strata == 1 else data.stratum[row].numpy()[there])
        assert z[row].item() == pytest.approx(-u[0] / v[0, 0] ** 0.5, rel=1e-9)


def test_weights_that_are_all_one_give_the_plain_test(simulated_events, method_of):
    data = simulated_events(replicates=40, tied=True, strata=3, seed=52)
    weighted = method_of(LogRank, weights={"fleming_harrington": {"rho": 0, "gamma": 0}}).estimate(data, favours=-1)
    torch.testing.assert_close(weighted.statistic, method_of(LogRank).estimate(data, favours=-1).statistic, rtol=1e-10, atol=1e-12)


def test_the_hazard_ratio_beside_a_weighted_test_is_the_plain_one(simulated_events, method_of):
    data = simulated_events(replicates=10, tied=True, seed=53)
    beside, cox = method_of(LogRank, weights="peto_peto", estimate="cox").estimate(data, favours=-1), method_of(Cox).estimate(data, favours=-1)
    assert torch.equal(beside.estimate, cox.estimate)


@pytest.mark.parametrize("weights", OPTIONS)
@pytest.mark.parametrize("shape", [{"tied": True}, {"strata": 3, "tied": True, "absent": True}])
def test_numbers_do_not_depend_on_the_block(weights, shape, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(LogRank, weights=OPTIONS[weights]), simulated_events(replicates=70, n=101, **shape), favours=-1)


def test_a_replicate_that_cannot_be_analysed_says_why(simulated_events, method_of):
    data = simulated_events(replicates=5, n=40, seed=54)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 1
    first = (data.time[3] + 1e9 * ~data.event[3]).argmin()
    event[3] = torch.arange(40) == first  # one event, where the late weight is zero
    found = method_of(LogRank, weights={"fleming_harrington": {"rho": 0, "gamma": 1}}).estimate(EventData(data.time, event, group), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 3, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def _three_arms(simulated_events, **options) -> EventData:
    data = simulated_events(**options)
    group = (torch.arange(data.time.shape[-1]) % 3).to(torch.int8).expand_as(data.group).contiguous()
    return dataclasses.replace(data, group=group, n_groups=3)


TREND = {"treatment": {"test": ["low", "high"], "reference": "none"}, "trend": {"high": 5, "none": 0, "low": 1}}


@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize("weights", [None, "peto_peto"])
def test_a_trend_is_that_of_the_witness(weights, strata, simulated_events, method_of):
    data = _three_arms(simulated_events, replicates=5, n=90, tied=True, absent=True, strata=strata, seed=55)
    analysis = method_of(LogRank, weights=weights, **TREND)
    assert analysis.joint
    z = analysis.estimate(data, favours=-1).statistic
    weight = PAIRS["peto_peto"] if weights else lambda t, s: 1.0
    for row in range(5):
        there = (data.time[row] >= 0).numpy()
        time, event, group = (getattr(data, name)[row].numpy()[there] for name in ("time", "event", "group"))
        stratum = None if strata == 1 else data.stratum[row].numpy()[there]
        u, v = weighted_logrank(time, event, group, [weight], stratum, scores=(0.0, 1.0, 5.0))
        assert z[row].item() == pytest.approx(-u[0] / v[0, 0] ** 0.5, rel=1e-9)


def test_a_trend_over_two_arms_is_the_plain_test(simulated_events, method_of):
    data = simulated_events(replicates=20, tied=True, seed=56)
    plain = method_of(LogRank).estimate(data, favours=-1).statistic
    for scores, sign in (({"a": 3, "b": 1}, 1), ({"a": -2, "b": 0}, -1)):
        torch.testing.assert_close(method_of(LogRank, trend=scores).estimate(data, favours=-1).statistic, sign * plain, rtol=1e-9, atol=1e-11)


def test_trends_that_cannot_be_meant_are_refused(method_of):
    for options, message in (
        ({"trend": {"a": 1}}, "a score for each of b, a"),
        ({"trend": {"a": 1, "b": 1}}, "scores that differ"),
        ({"trend": {"a": 1, "b": 0}, "estimate": "cox"}, "leave out estimate"),
    ):
        with pytest.raises(ValidationError, match=message):
            method_of(LogRank, **options)
    assert list(method_of(LogRank, trend={"a": 1, "b": 0, "c": 2}).unsupported()) == ["trend of logrank over arms that treatment does not name"]
    assert list(method_of(LogRank, trend={"a": 1, "b": 0}).unsupported()) == []
    weighted = method_of(LogRank, weights="peto_peto", type="non_inferiority", margin=1.3)
    assert list(weighted.unsupported()) == ["type: non_inferiority of logrank with weights"]


@pytest.mark.parametrize("strata", [1, 3])
def test_several_arms_are_those_of_lifelines_and_of_the_witness(strata, simulated_events):
    lifelines = pytest.importorskip("lifelines.statistics")
    data = _three_arms(simulated_events, replicates=6, n=90, tied=True, absent=True, strata=strata, seed=57)
    chi_square, df, p = several_arms(data)
    assert df.tolist() == [2.0] * 6
    for row in range(6):
        there = (data.time[row] >= 0).numpy()
        time, event, group = (getattr(data, name)[row].numpy()[there] for name in ("time", "event", "group"))
        stratum = None if strata == 1 else data.stratum[row].numpy()[there]
        # Scores (0,1,0), (0,0,1) and their sum give the covariance by polarisation.
        one, two, both = (weighted_logrank(time, event, group, [lambda t, s: 1.0], stratum, scores) for scores in ((0, 1, 0), (0, 0, 1), (0, 1, 1)))
        u = np.array([one[0][0], two[0][0]])
        cross = (both[1][0, 0] - one[1][0, 0] - two[1][0, 0]) / 2
        v = np.array([[one[1][0, 0], cross], [cross, two[1][0, 0]]])
        assert chi_square[row].item() == pytest.approx(u @ np.linalg.solve(v, u), rel=1e-9)
        if strata == 1:
            theirs = lifelines.multivariate_logrank_test(time, group, event)
            assert chi_square[row].item() == pytest.approx(theirs.test_statistic, rel=1e-8)
            assert p[row].item() == pytest.approx(theirs.p_value, rel=1e-8)


def test_an_arm_without_patients_costs_a_degree_of_freedom(simulated_events):
    data = _three_arms(simulated_events, replicates=4, seed=58)
    group = data.group.clone()
    group[1][group[1] == 2] = 0
    group[2][:] = 1
    event = data.event.clone()
    event[3] = False
    chi_square, df, p = several_arms(dataclasses.replace(data, group=group, event=event))
    assert df.tolist() == [2, 1, 0, 0]
    two = LogRank(method="logrank", endpoint="y", treatment={"test": "a", "reference": "b"}).estimate(EventData(data.time, data.event, group), favours=-1)
    assert chi_square[1].item() == pytest.approx(two.statistic[1].item() ** 2, rel=1e-10)
    assert torch.isnan(chi_square[2:]).all()
    assert torch.isnan(p[2:]).all()


def test_several_arms_do_not_depend_on_the_block(simulated_events):
    data = _three_arms(simulated_events, replicates=20, tied=True, strata=2, seed=59)
    whole = several_arms(data)
    for row in range(20):
        part = several_arms(
            EventData(data.time[row : row + 1], data.event[row : row + 1], data.group[row : row + 1], data.stratum[row : row + 1], 2, n_groups=3)
        )
        assert all(torch.equal(mine, every[row : row + 1]) for mine, every in zip(part, whole, strict=True))
