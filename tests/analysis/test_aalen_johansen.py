"""State occupation against mstate, one-to-one with competing risks and survival, and loops over times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.analysis.competing import simulated
from trialsim.analysis.aalen_johansen import Sojourns, illness_death, state_occupation
from trialsim.analysis.cause_table import cause_table
from trialsim.analysis.cumulative_incidence import incidence_at

REFERENCE = Path(__file__).parents[1] / "reference" / "multi_state"
ROWS = [row for row in map(json.loads, (REFERENCE / "rows.jsonl").read_text().splitlines()) if row["pkg"] == "mstate"]


def _tensor(values, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(np.asarray(values)).to(dtype)[None]


def _sojourns(row: dict) -> Sojourns:
    table = pd.read_csv(REFERENCE / Path(row["inputs"]["data"]).name)
    if row["case"] == "MS-08":
        ill, death = table.prtime / 365.25, table.rfstime / 365.25
        return illness_death(_tensor(ill), _tensor(table.prstat == 1, torch.bool), _tensor(death), _tensor(table.rfsstat == 1, torch.bool))
    arm = row["case"].removeprefix("MS-10-")
    table = table if arm == "all" else table[table.rx == arm]
    death = np.where((table.rstat == 1) & (table.dtime <= table.rtime), table.rtime + 0.5, table.dtime)
    return illness_death(_tensor(table.rtime), _tensor(table.rstat == 1, torch.bool), _tensor(death), _tensor(table.dstat == 1, torch.bool))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_probabilities_and_errors_are_those_of_mstate(row):
    p, variance = state_occupation(_sojourns(row), torch.tensor(row["inputs"]["times"], dtype=torch.float64))
    for index, value in row["out"]["p"].items():
        time, state = (int(part) - 1 for part in index.split(","))
        assert p[0, time, state].item() == pytest.approx(value, rel=1e-9)
        assert variance[0, time, state].sqrt().item() == pytest.approx(row["out"]["se"][index], rel=1e-6)


def test_without_censoring_it_is_the_share_in_each_state():
    """Two-way moves between three states, everyone followed to the end: plain counting, and the multinomial variance of competing risks."""
    rng = np.random.default_rng(3)
    n, end = 40, 10.0
    entry, leave, source, target = [], [], [], []
    for _ in range(n):
        t, state = 0.0, 0
        while t < end:
            until = t + rng.exponential(2.0)
            to = (state + rng.integers(1, 3)) % 3
            entry.append(t), leave.append(min(until, end)), source.append(state), target.append(to if until < end else -1)
            t, state = until, to
    sojourns = Sojourns(_tensor(entry), _tensor(leave), _tensor(source, torch.int64), _tensor(target, torch.int64), 3)
    at = torch.tensor([0.0, 1.5, 5.0, 9.9], dtype=torch.float64)
    p, _ = state_occupation(sojourns, at)
    for k, t in enumerate(at.tolist()):
        inside = (np.array(entry) <= t) & (t < np.array(leave))
        share = [np.sum(inside & (np.array(source) == state)) / n for state in range(3)]
        np.testing.assert_allclose(p[0, k].numpy(), share, atol=1e-12)


def test_competing_risks_are_the_special_case_without_illness_to_death():
    data = simulated(6, n=80, seed=4, tied=True, absent=True)
    arm = data.group == 1
    time = torch.where(arm, data.time, -1.0)
    there = time >= 0
    target = torch.where(data.event, 1, torch.where(data.competing, 2, -1))
    sojourns = Sojourns(torch.zeros_like(time), time, torch.where(there, 0, -1), target, 3)
    at = torch.tensor([2.0, 5.0, 8.0], dtype=torch.float64)
    p, variance = state_occupation(sojourns, at, variance="greenwood")
    for k, t in enumerate(at):
        f, v = incidence_at(cause_table(data), 1, t.expand(6), variance="greenwood")
        torch.testing.assert_close(p[:, k, 1], f, rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(variance[:, k, 1], v, rtol=1e-9, atol=1e-14)


def test_probabilities_sum_to_one_and_do_not_depend_on_the_block():
    data = simulated(20, n=60, seed=5, tied=True, absent=True)
    death = torch.where(data.time >= 0, data.time + 2.0 * (data.group == 1), -1.0)
    sojourns = illness_death(data.time, data.event, death, data.competing | (data.group == 1))
    at = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    p, variance = state_occupation(sojourns, at)
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]), rtol=1e-12, atol=0)
    for r in range(20):
        fields = (getattr(sojourns, name)[r : r + 1] for name in ("entry", "exit", "source", "target"))
        one = state_occupation(Sojourns(*fields, 3), at)
        assert torch.equal(one[0][0], p[r])
        assert torch.equal(one[1][0], variance[r])
