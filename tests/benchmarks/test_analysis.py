"""How fast the analyses are: blocks of 128 trials of 400 patients, about 250 events; `extra_info` holds fits per second."""

from __future__ import annotations

import pytest
import torch

from trialsim.analysis.methods.ancova import Ancova
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.t_test import TTest
from trialsim.records import EventData, ValueData

REPLICATES, PATIENTS = 128, 400
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.fixture(autouse=True)
def _one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _group() -> torch.Tensor:
    return (torch.arange(PATIENTS) % 2).to(torch.int8).expand(REPLICATES, PATIENTS).contiguous()


def _events(columns: int = 0, strata: int = 1) -> EventData:
    generator = torch.Generator().manual_seed(1)
    time, censoring = (-torch.log(torch.rand((REPLICATES, PATIENTS), generator=generator, dtype=torch.float64)) for _ in range(2))
    censoring *= 1.6
    return EventData(
        time=torch.minimum(time, censoring),
        event=time <= censoring,
        group=_group(),
        stratum=torch.randint(0, strata, (REPLICATES, PATIENTS), generator=generator) if strata > 1 else None,
        n_strata=strata,
        covariates=torch.randn((REPLICATES, PATIENTS, columns), generator=generator, dtype=torch.float64) if columns else None,
    )


def _values(columns: int = 0) -> ValueData:
    generator = torch.Generator().manual_seed(2)
    return ValueData(
        value=torch.randn((REPLICATES, PATIENTS), generator=generator, dtype=torch.float64),
        group=_group(),
        covariates=torch.randn((REPLICATES, PATIENTS, columns), generator=generator, dtype=torch.float64) if columns else None,
    )


CASES = {
    "logrank": (LogRank(method="logrank", **QUESTION), _events()),
    "logrank, estimate: cox": (LogRank(method="logrank", estimate="cox", **QUESTION), _events()),
    "cox, the arm alone": (Cox(method="cox", **QUESTION), _events()),
    "cox, the arm alone, 4 strata": (Cox(method="cox", **QUESTION), _events(strata=4)),
    "cox, 3 covariates": (Cox(method="cox", **QUESTION), _events(columns=3)),
    "t_test": (TTest(method="t_test", **QUESTION), _values()),
    "ancova, 1 covariate": (Ancova(method="ancova", **QUESTION), _values(columns=1)),
    "ancova, 3 covariates, hc3": (Ancova(method="ancova", robust="hc3", **QUESTION), _values(columns=3)),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_per_second(benchmark, case):
    method, data = CASES[case]
    found = benchmark(method.estimate, data, favours=-1)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(REPLICATES / benchmark.stats.stats.median)
