"""How fast the time-to-event methods are: blocks of 128 trials of 400 patients, about 250 events; `extra_info` holds fits per second."""

from __future__ import annotations

import pytest
import torch

from trialsim.analysis.methods.average_hazard_ratio import AverageHazardRatio
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.maxcombo import MaxCombo
from trialsim.analysis.methods.median_survival import MedianSurvival
from trialsim.analysis.methods.milestone import Milestone
from trialsim.analysis.methods.rmst import Rmst
from trialsim.records import EventData
from trialsim.tensors import keep_freed_memory

REPLICATES, PATIENTS = 128, 400
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.fixture(autouse=True)
def _one_core():
    keep_freed_memory()  # as the engine does
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _events(columns: int = 0, strata: int = 1, tied: bool = False) -> EventData:
    """Exponential times and censoring; `tied`: in whole units, about 20 of them."""
    generator = torch.Generator().manual_seed(1)
    time, censoring = (-torch.log(torch.rand((REPLICATES, PATIENTS), generator=generator, dtype=torch.float64)) for _ in range(2))
    censoring *= 1.6
    event, time = time <= censoring, torch.minimum(time, censoring)
    return EventData(
        time=(5.0 * time).ceil() if tied else time,
        event=event,
        group=(torch.arange(PATIENTS) % 2).to(torch.int8).expand(REPLICATES, PATIENTS).contiguous(),
        stratum=torch.randint(0, strata, (REPLICATES, PATIENTS), generator=generator) if strata > 1 else None,
        n_strata=strata,
        covariates=torch.randn((REPLICATES, PATIENTS, columns), generator=generator, dtype=torch.float64) if columns else None,
    )


CASES = {
    "logrank, 4 strata": (LogRank(method="logrank", **QUESTION), _events(strata=4)),
    "logrank, Fleming-Harrington": (LogRank(method="logrank", weights={"fleming_harrington": {"rho": 0, "gamma": 1}}, **QUESTION), _events()),
    "logrank, Magirr-Burman, 4 strata": (LogRank(method="logrank", weights={"magirr_burman": {"delay": "0.5 days"}}, **QUESTION), _events(strata=4)),
    "maxcombo of 4, one-sided": (MaxCombo(method="maxcombo", sides=1, **QUESTION), _events()),
    "maxcombo of 4, two-sided": (MaxCombo(method="maxcombo", sides=2, **QUESTION), _events()),
    "cox, 3 covariates": (Cox(method="cox", **QUESTION), _events(columns=3)),
    "cox, 3 covariates, profile interval": (Cox(method="cox", interval="profile", **QUESTION), _events(columns=3)),
    "cox, exact ties": (Cox(method="cox", ties="exact", **QUESTION), _events(tied=True)),
    "rmst": (Rmst(method="rmst", **QUESTION), _events()),
    "milestone": (Milestone(method="milestone", at="0.5 days", **QUESTION), _events()),
    "median_survival": (MedianSurvival(method="median_survival", **QUESTION), _events()),
    "average_hazard_ratio": (AverageHazardRatio(method="average_hazard_ratio", **QUESTION), _events()),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_per_second(benchmark, case):
    method, data = CASES[case]
    found = benchmark(method.estimate, data, favours=-1)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(REPLICATES / benchmark.stats.stats.median)
