"""How fast the analyses of values are: blocks of 128 trials of 400 patients (GEE: 200 of 4 visits); `extra_info` holds fits per second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from trialsim.analysis.methods.ancova import Ancova
from trialsim.analysis.methods.cmh import Cmh
from trialsim.analysis.methods.fisher import Fisher
from trialsim.analysis.methods.gee import Gee
from trialsim.analysis.methods.logistic import Logistic
from trialsim.analysis.methods.negative_binomial import NegativeBinomial
from trialsim.analysis.methods.poisson import Poisson
from trialsim.analysis.methods.proportional_odds import ProportionalOdds
from trialsim.analysis.methods.proportions import Proportions
from trialsim.analysis.methods.wilcoxon import Wilcoxon
from trialsim.records import ValueData, VisitData
from trialsim.tensors import keep_freed_memory

REPLICATES, PATIENTS, VISITS = 128, 400, 4
QUESTION = {"endpoint": "y", "treatment": {"test": "a", "reference": "b"}}


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    yield
    torch.set_num_threads(before)


def _values(outcome: str, columns: int = 0, *, strata: int = 1, exposed: bool = False) -> ValueData:
    generator = torch.Generator().manual_seed(1)

    def uniform(*leading: int) -> torch.Tensor:
        return torch.rand((*leading, REPLICATES, PATIENTS), generator=generator, dtype=torch.float64)

    covariates = torch.randn((REPLICATES, PATIENTS, columns), generator=generator, dtype=torch.float64) if columns else None
    eta = torch.zeros((REPLICATES, PATIENTS), dtype=torch.float64) if covariates is None else 0.4 * covariates.sum(-1)
    exposure = 0.2 + uniform() if exposed else None
    if outcome == "binary":
        value = (uniform() < torch.sigmoid(eta - 0.4)).double()
    elif outcome == "count":
        mean = torch.exp(eta) * -torch.log(uniform(2)).sum(0) / 2.0 * (1.0 if exposure is None else exposure)
        value = torch.poisson(mean, generator=generator)
    elif outcome == "ordinal":
        value = torch.bucketize(eta + torch.logit(uniform()), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)).double()
    else:
        value = eta + torch.randn(eta.shape, generator=generator, dtype=torch.float64)
    stratum = torch.randint(0, strata, (REPLICATES, PATIENTS), generator=generator) if strata > 1 else None
    group = (torch.arange(PATIENTS) % 2).to(torch.int8).expand(REPLICATES, PATIENTS).contiguous()
    return ValueData(value=value, group=group, stratum=stratum, n_strata=strata, covariates=covariates, exposure=exposure)


def _visits() -> VisitData:
    generator = torch.Generator().manual_seed(2)
    n = PATIENTS // 2
    patient = torch.randn((REPLICATES, n, 1), generator=generator, dtype=torch.float64)
    value = torch.poisson(torch.exp(0.5 * patient).expand(REPLICATES, n, VISITS), generator=generator)
    value[torch.rand(value.shape, generator=generator) < 0.1] = torch.nan
    return VisitData(value=value, group=(torch.arange(n) % 2).to(torch.int8).expand(REPLICATES, n).contiguous(), at=VISITS - 1)


CASES: dict[str, tuple[Any, Any]] = {
    "proportions": (Proportions(method="proportions", **QUESTION), _values("binary")),
    "proportions, miettinen_nurminen": (Proportions(method="proportions", test="miettinen_nurminen", **QUESTION), _values("binary")),
    "fisher": (Fisher(method="fisher", **QUESTION), _values("binary")),
    "cmh, 4 strata": (Cmh(method="cmh", **QUESTION), _values("binary", strata=4)),
    "logistic": (Logistic(method="logistic", **QUESTION), _values("binary")),
    "logistic, 3 covariates": (Logistic(method="logistic", **QUESTION), _values("binary", 3)),
    "logistic, 3 covariates, marginal": (Logistic(method="logistic", marginal=True, **QUESTION), _values("binary", 3)),
    "proportional_odds, 6 levels": (ProportionalOdds(method="proportional_odds", **QUESTION), _values("ordinal")),
    "poisson, 3 covariates": (Poisson(method="poisson", **QUESTION), _values("count", 3, exposed=True)),
    "negative_binomial": (NegativeBinomial(method="negative_binomial", **QUESTION), _values("count", exposed=True)),
    "negative_binomial, 2 covariates": (NegativeBinomial(method="negative_binomial", **QUESTION), _values("count", 2, exposed=True)),
    "negative_binomial, 2 covariates, reml": (NegativeBinomial(method="negative_binomial", dispersion="reml", **QUESTION), _values("count", 2, exposed=True)),
    "gee, exchangeable": (Gee(method="gee", family="poisson", correlation="exchangeable", **QUESTION), _visits()),
    "wilcoxon, Hodges-Lehmann": (Wilcoxon(method="wilcoxon", **QUESTION), _values("normal")),
    "ancova, 3 covariates, interaction": (Ancova(method="ancova", interaction=True, **QUESTION), _values("normal", 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_fits_per_second(benchmark: Any, case: str) -> None:
    method, data = CASES[case]
    found = benchmark(method.estimate, data, favours=-1)
    assert (found.failure == 0).all()
    if benchmark.stats is not None:
        benchmark.extra_info["fits per second"] = round(REPLICATES / benchmark.stats.stats.median)
