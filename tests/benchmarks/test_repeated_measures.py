"""How fast repeated measures are: blocks of 256 trials of 4 visits with 15 % missing at the end; `extra_info` holds fits per second."""

from __future__ import annotations

import pytest
import torch

from trialsim.analysis.methods.clda import Clda
from trialsim.analysis.methods.mmrm import Mmrm
from trialsim.analysis.repeated_measures.fitting import fit_repeated_measures, leave_one_out
from trialsim.records import VisitData

REPLICATES, VISITS = 256, 4
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.fixture(autouse=True)
def _one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _visits(*, n: int = 400, columns: int = 0, monotone: bool = True, replicates: int = REPLICATES) -> VisitData:
    generator = torch.Generator().manual_seed(1)
    patient, noise = (torch.randn((replicates, n, k), generator=generator, dtype=torch.float64) for k in (1, VISITS))
    gone = torch.rand((replicates, n, VISITS), generator=generator) < 0.055
    gone[..., 0] = False
    return VisitData(
        value=torch.where(gone.cummax(-1).values if monotone else gone, torch.nan, 0.8 * patient + 0.6 * noise + 0.3 * noise.cumsum(-1)),
        group=(torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous(),
        at=VISITS - 1,
        baseline=patient[..., 0] + torch.randn((replicates, n), generator=generator, dtype=torch.float64),
        covariates=torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None,
    )


CASES = {
    "mmrm, satterthwaite": (Mmrm(method="mmrm", **QUESTION), _visits()),
    "mmrm, satterthwaite, 200 patients": (Mmrm(method="mmrm", **QUESTION), _visits(n=200)),
    "mmrm, satterthwaite, intermittent": (Mmrm(method="mmrm", **QUESTION), _visits(monotone=False)),
    "mmrm, satterthwaite, 1 covariate": (Mmrm(method="mmrm", **QUESTION), _visits(columns=1)),
    "mmrm, satterthwaite, 1 covariate by visit": (Mmrm(method="mmrm", covariate_by_visit=True, **QUESTION), _visits(columns=1)),
    "mmrm, kenward_roger": (Mmrm(method="mmrm", df="kenward_roger", **QUESTION), _visits()),
    "mmrm, kenward_roger, heterogeneous_toeplitz": (Mmrm(method="mmrm", covariance="heterogeneous_toeplitz", df="kenward_roger", **QUESTION), _visits()),
    "mmrm, empirical": (Mmrm(method="mmrm", robust="empirical", **QUESTION), _visits()),
    "clda, satterthwaite": (Clda(method="clda", **QUESTION), _visits()),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_per_second(benchmark, case):
    method, data = CASES[case]
    found = benchmark(method.estimate, data, favours=1)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(REPLICATES / benchmark.stats.stats.median)


def test_leaving_patients_out(benchmark):
    fit = fit_repeated_measures(_visits(n=200, columns=1, replicates=8), covariate_by_visit=True)
    found = benchmark(leave_one_out, fit)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(1600 / benchmark.stats.stats.median)
