"""How fast pairwise, competing-risks and recurrent-event analyses are: blocks of 128 trials of 400 patients; `extra_info` holds fits per second."""

from __future__ import annotations

import pytest
import torch

from trialsim.analysis.methods.aalen_johansen import AalenJohansen
from trialsim.analysis.methods.fine_gray import FineGray
from trialsim.analysis.methods.gray import Gray
from trialsim.analysis.methods.lwyy import Lwyy
from trialsim.analysis.methods.win_ratio import WinRatio
from trialsim.records import EventData, HierarchyData, RecurrentData, ValueData

REPLICATES, PATIENTS = 128, 400
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.fixture(autouse=True)
def _one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _uniform(seed: int, *more: int) -> torch.Tensor:
    return torch.rand((REPLICATES, PATIENTS, *more), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _group() -> torch.Tensor:
    return (torch.arange(PATIENTS) % 2).to(torch.int8).expand(REPLICATES, PATIENTS).contiguous()


def _causes(columns: int = 0) -> EventData:
    """About 45 % events of the cause, 30 % of others."""
    first, other, censoring = -torch.log(_uniform(1)) * 10, -torch.log(_uniform(2)) * 15, _uniform(3) * 25
    time = torch.minimum(torch.minimum(first, other), censoring)
    covariates = _uniform(4, columns) if columns else None
    return EventData(time, time == first, _group(), competing=time == other, covariates=covariates)


def _recurrent() -> RecurrentData:
    """One event a patient on average, up to eight."""
    follow_up = 5 + 15 * _uniform(5)
    time = (-torch.log(_uniform(6, 8)) / (0.08 * -torch.log(_uniform(7)))[..., None]).cumsum(-1)
    return RecurrentData(torch.where(time <= follow_up[..., None], time, torch.inf), follow_up, _group())


def _hierarchy() -> HierarchyData:
    """A death, a relapse, and a value that nearly always decides."""
    death, relapse, censoring = -torch.log(_uniform(8)) * 2, -torch.log(_uniform(9)), 2 * _uniform(10)
    followed = torch.minimum(death, censoring)
    parts = (
        EventData(followed, death <= censoring, _group()),
        EventData(torch.minimum(relapse, followed), relapse <= followed, _group()),
        ValueData(torch.special.ndtri(_uniform(11)), _group()),
    )
    return HierarchyData(parts, (1, 1, 1), (0.0, 0.0, 0.0))


CASES = {
    "win_ratio, 3 levels": lambda: (WinRatio(method="win_ratio", hierarchy=["a", "b", "c"], **QUESTION), _hierarchy()),
    "win_ratio, finkelstein_schoenfeld": lambda: (
        WinRatio(method="win_ratio", hierarchy=["a", "b", "c"], test="finkelstein_schoenfeld", **QUESTION),
        _hierarchy(),
    ),
    "aalen_johansen": lambda: (AalenJohansen(method="aalen_johansen", at="8 days", **QUESTION), _causes()),
    "gray": lambda: (Gray(method="gray", **QUESTION), _causes()),
    "fine_gray, the arm alone": lambda: (FineGray(method="fine_gray", **QUESTION), _causes()),
    "fine_gray, 3 covariates": lambda: (FineGray(method="fine_gray", **QUESTION), _causes(columns=3)),
    "lwyy": lambda: (Lwyy(method="lwyy", **QUESTION), _recurrent()),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_per_second(benchmark, case):
    method, data = CASES[case]()
    found = benchmark(method.estimate, data, favours=-1)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(REPLICATES / benchmark.stats.stats.median)
