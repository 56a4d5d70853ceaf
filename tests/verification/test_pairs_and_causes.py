"""Type I error and coverage of pairwise, competing-risks and recurrent-event analyses: 20,000 trials of 400 patients each, 3 MCSE.

One-sided levels at a nominal 0.025 in smaller trials, for the record: lwyy 0.031 with 100 patients and 100 events, 0.028 with 200 and 200 (a
sandwich variance is too small in small samples); net_benefit 0.028 with 100 patients, where win_ratio and win_odds have 0.024.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tests.analysis.competing import simulated as causes
from tests.analysis.methods.test_lwyy import simulated as recurrent
from tests.analysis.methods.test_win_ratio import simulated as hierarchies
from trialsim.analysis import confidence_interval
from trialsim.analysis.methods.aalen_johansen import AalenJohansen
from trialsim.analysis.methods.fine_gray import FineGray
from trialsim.analysis.methods.gray import Gray
from trialsim.analysis.methods.lwyy import Lwyy
from trialsim.analysis.methods.win_ratio import WinRatio
from trialsim.records import EventData, HierarchyData

QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}
TRIALS, BLOCK, PATIENTS = 20_000, 250, 400
PAIRS = {"method": "win_ratio", "hierarchy": ["a", "b", "c"], **QUESTION}

NULL: dict[str, tuple[object, Callable]] = {
    **{
        f"aalen_johansen, {v}": (AalenJohansen(method="aalen_johansen", at="8 days", variance=v, **QUESTION), causes)
        for v in ("aalen", "greenwood", "jackknife")
    },
    "gray": (Gray(method="gray", **QUESTION), causes),
    "fine_gray": (FineGray(method="fine_gray", **QUESTION), causes),
    "lwyy": (Lwyy(method="lwyy", **QUESTION), recurrent),
    **{measure: (WinRatio(measure=measure, **PAIRS), hierarchies) for measure in ("win_ratio", "net_benefit", "win_odds")},
    "finkelstein_schoenfeld": (WinRatio(test="finkelstein_schoenfeld", **PAIRS), hierarchies),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NULL)
def test_type_one_error_is_alpha(name):
    method, simulate = NULL[name]
    z = torch.cat([method.estimate(simulate(BLOCK, PATIENTS, seed=1000 + k), favours=-1).statistic for k in range(TRIALS // BLOCK)])
    assert not torch.isnan(z).any()
    mcse = math.sqrt(0.025 * 0.975 / TRIALS)
    for rejected in (z > 1.959964, z < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * mcse


def subdistribution(replicates: int, n: int, *, seed: int, log_hr: float) -> EventData:
    """A cause with F(t | arm) = 1 - (1 - 0.5 (1 - e^-t))^exp(log_hr arm), another cause, uniform censoring (Fine and Gray 1999, section 5)."""
    generator = torch.Generator().manual_seed(seed)
    u, v, w = (torch.rand((replicates, n), generator=generator, dtype=torch.float64) for _ in range(3))
    group = (torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous()
    ratio = torch.exp(log_hr * group.double())
    share = 1 - 0.5**ratio
    first = -torch.log(1 - (1 - (1 - u).pow(1 / ratio)) / 0.5)
    time = torch.where(u < share, first, -torch.log(v))
    censoring = 0.3 + 3 * w
    event = (u < share) & (time <= censoring)
    return EventData(torch.minimum(time, censoring), event, group, competing=(u >= share) & (time <= censoring))


def deaths(replicates: int, n: int, *, seed: int, log_hr: float) -> HierarchyData:
    """Exponential deaths, everyone followed for the same time 1.5."""
    generator = torch.Generator().manual_seed(seed)
    group = (torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous()
    time = -torch.log(torch.rand((replicates, n), generator=generator, dtype=torch.float64)) / torch.exp(log_hr * group.double())
    return HierarchyData((EventData(time.clamp(max=1.5), time <= 1.5, group),), (1,), (0.0,))


def _incidence(rate: float) -> float:
    total = rate + 1 / 15
    return rate / total * (1 - math.exp(-8 * total))


HR = math.exp(-0.4)
NET = (1 - HR) / (1 + HR) * (1 - math.exp(-1.5 * (1 + HR)))
COVERED: dict[str, tuple[object, Callable, dict, float]] = {
    **{
        f"aalen_johansen, {v}": (
            AalenJohansen(method="aalen_johansen", at="8 days", variance=v, **QUESTION),
            causes,
            {"log_hr": -0.4},
            _incidence(HR / 10) - _incidence(0.1),
        )
        for v in ("aalen", "greenwood", "jackknife")
    },
    "fine_gray": (FineGray(method="fine_gray", **QUESTION), subdistribution, {"log_hr": -0.4}, -0.4),
    "lwyy": (Lwyy(method="lwyy", **QUESTION), recurrent, {"log_rr": -0.4}, -0.4),
    "win_ratio": (WinRatio(measure="win_ratio", **PAIRS), deaths, {"log_hr": -0.4}, 0.4),
    "net_benefit": (WinRatio(measure="net_benefit", **PAIRS), deaths, {"log_hr": -0.4}, NET),
    "win_odds": (WinRatio(measure="win_odds", **PAIRS), deaths, {"log_hr": -0.4}, math.log((1 + NET) / (1 - NET))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
def test_intervals_cover_the_truth(name):
    """95 % intervals; the truths are closed forms."""
    method, simulate, options, truth = COVERED[name]
    covered = 0
    for k in range(TRIALS // BLOCK):
        found = method.estimate(simulate(BLOCK, PATIENTS, seed=3000 + k, **options), favours=-1)
        low, high = confidence_interval(found, alpha_one_sided=0.025)
        covered += int(((low <= truth) & (truth <= high)).sum())
    assert abs(covered / TRIALS - 0.95) < 3 * math.sqrt(0.95 * 0.05 / TRIALS)
