"""The log-rank test against R's survdiff and lifelines, plain and stratified; same bits, failures, type I error."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from lifelines.statistics import logrank_test

from trialsim.analysis import score_at_log_hr
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank, logrank_score
from trialsim.records import EventData

CASES = ("SV-001", "SV-003", "SV-043", "SV-106", "SV-127")


@pytest.mark.parametrize("case", CASES)
def test_observed_expected_and_chi_square_are_those_of_r(case, survival_rows, survival_data, method_of):
    rows = survival_rows[survival_rows.case == case]
    values = {(output, int(index)): value for output, index, value in zip(rows.output, rows["index"], rows.value, strict=True)}
    stratum = re.search(r"strata\(([\w.]+)\)", rows.spec.iloc[0])
    data = survival_data(rows.dataset.iloc[0], (), None if stratum is None else stratum[1])
    score = logrank_score(data)
    assert score.n_events.item() == values["observed", 1] + values["observed", 2]
    assert score.u.item() == pytest.approx(values["observed", 2] - values["expected", 2], rel=1e-7)
    found = method_of(LogRank).estimate(data, favours=-1)
    assert found.statistic.item() ** 2 == pytest.approx(values["chisq", 1], rel=1e-6)
    assert math.copysign(1, found.statistic.item()) == math.copysign(1, values["expected", 2] - values["observed", 2])


def test_every_reference_case_is_used(survival_rows):
    assert sorted(survival_rows[survival_rows.method.str.contains("logrank")].case.unique()) == sorted(CASES)


@pytest.mark.parametrize("tied", [False, True])
def test_simulated_trials_are_those_of_lifelines(tied, simulated_events, method_of):
    data = simulated_events(replicates=20, tied=tied, absent=True, seed=41)
    data = dataclasses.replace(data, event=data.event & (data.time >= 0))
    z = method_of(LogRank).estimate(data, favours=-1).statistic
    for row in range(20):
        there = data.time[row] >= 0
        time, event, test = data.time[row][there].numpy(), data.event[row][there].numpy(), (data.group[row][there] == 1).numpy()
        theirs = logrank_test(time[test], time[~test], event[test], event[~test]).test_statistic
        assert z[row].item() ** 2 == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("shape", [{}, {"tied": True}, {"strata": 3, "tied": True, "absent": True}])
@pytest.mark.parametrize("estimate", [None, "cox"])
def test_numbers_do_not_depend_on_the_block(shape, estimate, simulated_events, assert_same_bits, method_of):
    assert_same_bits(method_of(LogRank, estimate=estimate), simulated_events(replicates=70, n=101, **shape), favours=-1)


@pytest.mark.parametrize("strata", [1, 3])
def test_its_score_is_coxs_at_zero(strata, simulated_events):
    data = simulated_events(replicates=50, strata=strata, seed=42)
    torch.testing.assert_close(logrank_score(data).u, score_at_log_hr(data, 0.0), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("strata", [1, 3])
def test_the_hazard_ratio_beside_it_is_coxs(strata, simulated_events, method_of):
    data = simulated_events(replicates=50, strata=strata, tied=True, seed=43)
    beside, cox = method_of(LogRank, estimate="cox").estimate(data, favours=-1), method_of(Cox).estimate(data, favours=-1)
    assert torch.equal(beside.estimate, cox.estimate)
    assert torch.equal(beside.std_error, cox.std_error)
    assert method_of(LogRank).estimate(data, favours=-1).estimate is None


def test_a_replicate_that_cannot_be_analysed_says_why(simulated_events, method_of):
    data = simulated_events(replicates=4, n=40, seed=44)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 1
    found = method_of(LogRank).estimate(EventData(time=data.time, event=event, group=group), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def test_type_one_error_is_alpha(simulated_events, method_of):
    """20,000 null trials of 160 patients: each side's level 0.025 within 3 MCSE (0.0033)."""
    z = method_of(LogRank).estimate(simulated_events(replicates=20_000, n=160, seed=45), favours=-1).statistic
    mcse = math.sqrt(0.025 * 0.975 / len(z))
    for rejected in (z > 1.959964, z < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * mcse
