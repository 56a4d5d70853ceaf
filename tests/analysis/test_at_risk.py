"""Counts at risk against plain counting, for any number of strata, with and without ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.analysis.arm_hazard_ratio import score_at_log_hr
from trialsim.analysis.at_risk import at_risk, fits
from trialsim.analysis.methods.logrank import logrank_score
from trialsim.records import EventData


def make(n_strata: int, *, tied: bool, n: int = 120, seed: int = 4) -> EventData:
    rng = np.random.default_rng(seed)
    time = rng.exponential(10, (6, n))
    if tied:
        time = np.ceil(time)
    time[:, ::11] = -1.0
    event = (rng.random((6, n)) < 0.7) & (time >= 0)
    group, stratum = rng.integers(0, 2, (6, n)).astype(np.int8), rng.integers(0, n_strata, (6, n))
    return EventData(*(torch.from_numpy(x) for x in (time, event, group)), torch.from_numpy(stratum), n_strata)


def by_counting(data: EventData, row: int) -> tuple[float, float, float]:
    """U, V and the Breslow score at log 0.7 of one replicate, from the definitions."""
    time, event, group, stratum = (x[row].numpy() for x in (data.time, data.event, data.group, data.stratum))  # type: ignore[union-attr]
    u = v = score = 0.0
    for s in range(data.n_strata):
        inside = (stratum == s) & (time >= 0)
        for t in np.unique(time[inside & event]):
            at = inside & (time >= t)
            now = inside & event & (time == t)
            n, n1, d, d1 = at.sum(), (at & (group == 1)).sum(), now.sum(), (now & (group == 1)).sum()
            u += d1 - d * n1 / n
            v += d * n1 / n * (1 - n1 / n) * (n - d) / max(n - 1, 1)
            score += d1 - d * 0.7 * n1 / (0.7 * n1 + n - n1)
    return u, v, score


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_strata", [1, 2, 3, 4, 5, 9, 64, 70])
def test_scores_are_those_of_the_definitions(n_strata: int, tied: bool) -> None:
    data = make(n_strata, tied=tied)
    found, score = logrank_score(data), score_at_log_hr(data, float(np.log(0.7)), ties="breslow")
    for row in range(6):
        u, v, s = by_counting(data, row)
        assert found.u[row].item() == pytest.approx(u, abs=1e-10)
        assert found.variance[row].item() == pytest.approx(v, abs=1e-10)
        assert score[row].item() == pytest.approx(s, abs=1e-10)
    assert found.n.tolist() == (data.time >= 0).sum(-1).tolist()
    assert found.n_events.tolist() == data.event.sum(-1).tolist()


def test_what_fits() -> None:
    assert fits(make(64, tied=False))
    assert not fits(make(65, tied=False))
    assert at_risk(make(64, tied=True)).tied.any()
    assert not at_risk(make(3, tied=False)).tied.any()
