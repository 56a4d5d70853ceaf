"""Cumulative incidence against survival's and cmprsk's rows and closed forms."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from tests.analysis.competing import REFERENCE, record, simulated
from trialsim.analysis.cause_table import cause_table
from trialsim.analysis.cumulative_incidence import incidence_at, incidence_curve
from trialsim.records import EventData

ROWS = {row["case"]: row for row in map(json.loads, (REFERENCE / "multi_state" / "rows.jsonl").read_text().splitlines())}
CODES = {"censor": 0, "pcm": 1, "death": 2}


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times, dtype=torch.float64)


def by_sex(cause: int, *, apart: bool = True) -> EventData:
    table = pd.read_csv(REFERENCE / "multi_state" / "mgus2_ms.csv")
    return record(table.etime, table.ev.map(CODES), (table.sex == "M") & apart, cause)


@pytest.mark.parametrize("case, arms", [("MS-01", 1), ("MS-02", 2)])
@pytest.mark.parametrize("cause", [1, 2])
def test_probabilities_and_jackknife_errors_are_those_of_survival(case, arms, cause):
    row = ROWS[case]
    table = cause_table(by_sex(cause, apart=arms == 2))
    times = row["inputs"]["times"]
    for group in range(arms):
        for k, time in enumerate(times):
            f, variance = incidence_at(table, group, at(time), variance="jackknife")
            index = f"{group * len(times) + k + 1},{cause + 1}"
            if torch.isnan(f):
                # survival carries the last value on; here the arm's curve is not known beyond its last follow-up.
                assert time > table.last_time()[group].item()
                continue
            assert f.item() == pytest.approx(row["out"]["pstate"][index], rel=1e-9)
            assert variance.sqrt().item() == pytest.approx(row["out"]["se"][index], rel=1e-6)


@pytest.mark.parametrize("cause", [1, 2])
def test_estimates_and_variances_are_those_of_cmprsk(cause):
    row = ROWS["MS-03"]
    table = cause_table(by_sex(cause))
    for group in (0, 1):
        for k, time in enumerate(row["inputs"]["times"]):
            f, variance = incidence_at(table, group, at(time))
            index = f"{2 * (cause - 1) + group + 1},{k + 1}"
            assert f.item() == pytest.approx(row["out"]["est"][index], rel=1e-9)
            assert variance.item() == pytest.approx(row["out"]["var"][index], rel=1e-9)


@pytest.mark.parametrize("variance", ["greenwood", "jackknife"])
def test_without_censoring_it_is_a_proportion(variance):
    data = simulated(6, n=60, tied=True, seed=2)
    competing = data.competing | ~data.event
    table = cause_table(EventData(data.time, data.event, data.group, competing=competing))
    for group in (0, 1):
        f, v = incidence_at(table, group, torch.full((6,), 7.0, dtype=torch.float64), variance=variance)
        mine = data.group == group
        p = (data.event & mine & (data.time <= 7.0)).sum(-1).double() / mine.sum(-1)
        torch.testing.assert_close(f, p, rtol=1e-12, atol=0)
        torch.testing.assert_close(v, p * (1 - p) / mine.sum(-1), rtol=1e-11, atol=0)


def test_without_other_causes_it_is_one_minus_kaplan_meier_with_greenwood():
    data = simulated(1, n=80, seed=4)
    table = cause_table(EventData(data.time, data.event, data.group))
    curve = incidence_curve(table, 1, variance="greenwood")
    mine = data.group[0] == 1
    time, event = data.time[0, mine], data.event[0, mine]
    s, total = 1.0, 0.0
    for t in sorted(time[event].tolist()):
        y = (time >= t).sum().item()
        s, total = s * (1 - 1 / y), total + 1 / (y * (y - 1)) if y > 1 else total
        k = (curve.time[0] <= t).sum() - 1
        assert curve.incidence[0, k].item() == pytest.approx(1 - s, rel=1e-12)
        if s > 0:
            assert curve.variance[0, k].item() == pytest.approx(s * s * total, rel=1e-10)


def test_the_curve_of_an_arm_does_not_depend_on_the_other_arm():
    data = simulated(8, n=50, tied=True, seed=9, absent=True)
    alone = EventData(data.time.masked_fill(data.group == 0, -1.0), data.event & (data.group == 1), data.group, competing=data.competing)
    for kind in ("aalen", "greenwood"):
        both, one = (incidence_at(cause_table(d), 1, torch.full((8,), 6.0, dtype=torch.float64), variance=kind) for d in (data, alone))
        torch.testing.assert_close(both, one, rtol=1e-13, atol=1e-16)


def test_beyond_the_last_follow_up_the_curve_is_unknown_unless_nobody_is_left():
    group = torch.zeros((2, 3), dtype=torch.int8)
    time = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64).repeat(2, 1)
    event = torch.tensor([[True, True, False], [True, True, True]])
    f, _ = incidence_at(cause_table(EventData(time, event, group)), 0, at(4.0, 4.0))
    assert torch.isnan(f[0])
    assert f[1].item() == 1.0
