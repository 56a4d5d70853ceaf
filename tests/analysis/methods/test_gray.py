"""Gray's test against cmprsk, a loop over times and arms, and what must hold of it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.analysis.competing import REFERENCE, codes, record, simulated
from tests.witness.competing_risks import gray
from trialsim.analysis import p_value
from trialsim.analysis.gray_score import gray_score
from trialsim.analysis.methods.gray import Gray
from trialsim.analysis.methods.logrank import logrank_score


@pytest.mark.parametrize("cause", [1, 2])
def test_statistic_and_p_value_are_those_of_cmprsk(cause, method_of):
    row = next(row for row in map(json.loads, (REFERENCE / "multi_state" / "rows.jsonl").read_text().splitlines()) if row["case"] == "MS-03")
    table = pd.read_csv(REFERENCE / "multi_state" / "mgus2_ms.csv")
    data = record(table.etime, table.ev.map({"censor": 0, "pcm": 1, "death": 2}), table.sex == "M", cause)
    found = method_of(Gray).estimate(data, favours=-1)
    assert found.statistic.item() ** 2 == pytest.approx(row["out"]["tests"][f"{cause},1"], rel=1e-9)
    assert p_value(found, sides=2).item() == pytest.approx(row["out"]["tests"][f"{cause},2"], rel=1e-9)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_score_and_covariance_are_those_of_a_loop_over_times(groups):
    data = simulated(6, n=60, seed=groups, tied=True, groups=groups, absent=True)
    found = gray_score(data)
    for r in range(6):
        time, cause, group, _ = codes(data, r)
        score, covariance = gray(time, cause, group, groups)
        np.testing.assert_allclose(found.score[:, r].numpy(), score, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(np.tril(found.covariance[:, :, r].numpy()), np.tril(covariance), rtol=1e-8, atol=1e-10)


def test_an_arm_that_ends_early_takes_part_until_then():
    data = simulated(8, n=40, seed=11)
    early = (data.group == 1) & (data.time > 2.0)
    data = dataclasses.replace(data, time=torch.where(early, 2.0, data.time), event=data.event & ~early, competing=data.competing | early)
    found = gray_score(data)
    for r in range(8):
        time, cause, group, _ = codes(data, r)
        score, covariance = gray(time, cause, group, 2)
        assert found.score[0, r].item() == pytest.approx(score[0], rel=1e-9, abs=1e-11)
        assert found.covariance[0, 0, r].item() == pytest.approx(covariance[0, 0], rel=1e-9)


def test_without_other_causes_the_score_is_the_log_rank_score():
    data = dataclasses.replace(simulated(10, seed=2, tied=True), competing=None)
    torch.testing.assert_close(gray_score(data).score[0], logrank_score(data).u, rtol=1e-10, atol=1e-10)


def test_the_chi_squared_statistic_does_not_depend_on_the_names_of_the_arms(method_of):
    data = simulated(10, n=90, seed=5, groups=3, log_hr=-0.5)
    chi_square, df = gray_score(data).chi_square()
    assert (df == 2).all()
    for order in ((1, 2, 0), (2, 1, 0)):
        renamed = dataclasses.replace(data, group=torch.tensor(order, dtype=torch.int8)[data.group.long()])
        torch.testing.assert_close(gray_score(renamed).chi_square()[0], chi_square, rtol=1e-9, atol=1e-12)
    for sides in (1, 2):
        found = method_of(Gray, sides=sides).estimate(data, favours=-1)
        np.testing.assert_allclose(p_value(found, sides=sides).numpy(), stats.chi2.sf(chi_square.numpy(), 2), rtol=1e-9)


def test_strata_add_their_scores_and_variances():
    data = simulated(5, seed=6, strata=3, tied=True)
    whole = gray_score(data)
    parts = []
    for level in range(3):
        inside = data.stratum == level
        alone = dataclasses.replace(data, time=data.time.masked_fill(~inside, -1.0), event=data.event & inside, stratum=None, n_strata=1)
        parts.append(gray_score(alone))
    torch.testing.assert_close(whole.score, sum(part.score for part in parts), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(whole.covariance, sum(part.covariance for part in parts), rtol=1e-12, atol=1e-13)


def test_events_after_the_time_are_not_used(method_of):
    data = simulated(5, seed=8)
    inside = data.time <= 6.0
    cut = dataclasses.replace(data, time=data.time.clamp(max=6.0), event=data.event & inside, competing=data.competing & inside)
    assert torch.equal(method_of(Gray, at="6 days").estimate(data, favours=-1).statistic, method_of(Gray).estimate(cut, favours=-1).statistic)


@pytest.mark.parametrize("shape", [{}, {"strata": 2}, {"groups": 3}])
def test_numbers_do_not_depend_on_the_block(shape, method_of, assert_same_bits):
    assert_same_bits(method_of(Gray), simulated(70, n=101, tied=True, absent=True, **shape), favours=-1)


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    data = simulated(4, n=40, seed=7)
    event, group = data.event.clone(), data.group.clone()
    event[1] = False
    group[2] = 0
    found = method_of(Gray).estimate(dataclasses.replace(data, event=event, group=group), favours=-1)
    assert found.failure.tolist() == [0, 1, 2, 0]
    assert torch.equal(torch.isnan(found.statistic), found.failure != 0)


def test_null_trials_are_rejected_as_they_should(method_of):
    """3,000 null trials of 120 patients: both tails within 3 MCSE (0.0086) and 0.002 of 0.025; fewer events of the cause favour the test arm."""
    z = method_of(Gray).estimate(simulated(3000, seed=31), favours=-1).statistic
    for rejected in (z > 1.959964, z < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 3000) + 0.002
    assert (method_of(Gray).estimate(simulated(4, n=400, seed=5, log_hr=-1.2), favours=-1).statistic > 2).all()
