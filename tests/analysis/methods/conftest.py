"""Data for tests of methods on values: real data sets as records, blocks of simulated binary, count, ordinal and repeated values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from trialsim.records import ValueData, VisitData

REGRESSIONS = Path(__file__).parents[2] / "reference" / "regressions"
Outcome = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def one(values: object, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A column of a table as one replicate."""
    return torch.tensor(np.asarray(values))[None].to(dtype)


def two_by_two(x1: int, n1: int, x0: int, n0: int) -> ValueData:
    """x1 of n1 patients of the test arm respond, x0 of n0 of the reference."""
    value = [1.0] * x1 + [0.0] * (n1 - x1) + [1.0] * x0 + [0.0] * (n0 - x0)
    return ValueData(value=one(value), group=one([1] * n1 + [0] * n0, torch.int8))


@pytest.fixture(scope="session")
def table_data() -> Callable[..., ValueData]:
    """A 2 by 2 table as one replicate."""
    return two_by_two


@pytest.fixture(scope="session")
def regression_rows() -> Callable[[str], dict[tuple[str, int], float]]:
    """What R says, by (output, index), of a case."""
    rows = pd.read_csv(REGRESSIONS / "rows.csv")
    return lambda case: {(row.output, row.index_): row.value for row in rows[rows.case == case].rename(columns={"index": "index_"}).itertuples()}


@pytest.fixture(scope="session")
def bladder() -> ValueData:
    """Recurrences of bladder tumours, with follow-up."""
    table = pd.read_csv(REGRESSIONS / "bladder_counts.csv")
    return ValueData(value=one(table.ev), group=one(table.arm, torch.int8), exposure=one(table.fu))


@pytest.fixture(scope="session")
def birthwt() -> ValueData:
    """Low birth weight by smoking (group), in strata of race."""
    table = pd.read_csv(REGRESSIONS / "birthwt.csv")
    return ValueData(value=one(table.low), group=one(table.smoke, torch.int8), stratum=one(table.race - 1, torch.int64), n_strata=3)


@pytest.fixture(scope="session")
def epilepsy() -> VisitData:
    """Seizures in four periods, with log baseline and log age."""
    table = pd.read_csv(REGRESSIONS / "epil.csv")
    wide = table.pivot(index="subject", columns="period", values="y")
    patient = table.drop_duplicates("subject").set_index("subject").loc[wide.index]
    covariates = np.stack([np.log(patient.base), np.log(patient.age)], axis=-1)
    return VisitData(value=one(wide.to_numpy()), group=one(patient.trt == "progabide", torch.int8), at=3, covariates=one(covariates))


@pytest.fixture(scope="session")
def housing() -> Callable[[str], tuple[ValueData, list[str]]]:
    """Satisfaction of tenants, one row each, with the dummy column that plays the arm; the others are covariates in R's order."""
    table = pd.read_csv(REGRESSIONS / "housing.csv")
    table = table.loc[table.index.repeat(table.Freq)]
    level = table.Sat.map({"Low": 0, "Medium": 1, "High": 2})
    dummies = {
        "InflMedium": table.Infl == "Medium",
        "InflHigh": table.Infl == "High",
        "TypeApartment": table.Type == "Apartment",
        "TypeAtrium": table.Type == "Atrium",
        "TypeTerrace": table.Type == "Terrace",
        "ContHigh": table.Cont == "High",
    }

    def data(arm: str) -> tuple[ValueData, list[str]]:
        covariates = np.stack([column for name, column in dummies.items() if name != arm], axis=-1).astype(float)
        return ValueData(value=one(level), group=one(dummies[arm], torch.int8), covariates=one(covariates)), list(dummies)

    return data


def _simulated(
    outcome: Outcome,
    *,
    replicates: int = 20,
    n: int = 101,
    columns: int = 0,
    effect: float = 0.0,
    groups: int = 2,
    absent: bool = False,
    strata: int = 1,
    exposed: bool = False,
    seed: int = 0,
) -> ValueData:
    """Arms in turn; the linear predictor is effect x (group 1) + 0.5 x covariates + log exposure, and the outcome follows it."""
    generator = torch.Generator().manual_seed(seed)
    group = (torch.arange(n) % groups).to(torch.int8).expand(replicates, n).contiguous()
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    eta = effect * (group == 1) + (0.0 if covariates is None else 0.5 * covariates.sum(-1))
    exposure = None
    if exposed:
        exposure = 0.2 + torch.rand((replicates, n), generator=generator, dtype=torch.float64)
        eta = eta + torch.log(exposure)
    value = outcome(eta, generator)
    if absent:
        value = value.masked_fill(torch.rand((replicates, n), generator=generator) < 0.1, torch.nan)
    stratum = torch.randint(0, strata, (replicates, n), generator=generator) if strata > 1 else None
    return ValueData(value=value, group=group, stratum=stratum, n_strata=strata, covariates=covariates, exposure=exposure, n_groups=groups)


def _binary(eta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(eta.shape, generator=generator, dtype=torch.float64) < torch.sigmoid(eta - 0.4)).double()


def _count(eta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Negative binomial with mean exp(eta) and dispersion 0.5."""
    frailty = -torch.log(torch.rand((2, *eta.shape), generator=generator, dtype=torch.float64)).sum(0) / 2.0
    return torch.poisson(torch.exp(eta) * frailty, generator=generator)


def _poisson(eta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.poisson(torch.exp(eta), generator=generator)


def _ordinal(eta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    latent = eta + torch.logit(torch.rand(eta.shape, generator=generator, dtype=torch.float64))
    return torch.bucketize(latent, torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)).double()


def _normal(eta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return eta + torch.randn(eta.shape, generator=generator, dtype=torch.float64)


OUTCOMES = {"binary": _binary, "count": _count, "poisson": _poisson, "ordinal": _ordinal, "normal": _normal}


@pytest.fixture(scope="session")
def simulated() -> Callable[..., ValueData]:
    """`simulated("binary", replicates=…, columns=…)`."""
    return lambda outcome, **options: _simulated(OUTCOMES[outcome], **options)


def _simulated_visits(
    outcome: str, *, replicates: int = 20, n: int = 61, visits: int = 4, columns: int = 1, effect: float = 0.3, missing: float = 0.0, seed: int = 0
) -> VisitData:
    generator = torch.Generator().manual_seed(seed)
    group = (torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous()
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    eta = effect * group + (0.0 if covariates is None else 0.4 * covariates.sum(-1))
    eta = (eta + 0.5 * torch.randn((replicates, n), generator=generator, dtype=torch.float64))[..., None].expand(replicates, n, visits)
    value = OUTCOMES[outcome](eta, generator)
    value = value.masked_fill(torch.rand(value.shape, generator=generator) < missing, torch.nan)
    return VisitData(value=value, group=group, at=visits - 1, covariates=covariates)


@pytest.fixture(scope="session")
def simulated_visits() -> Callable[..., VisitData]:
    """`simulated_visits("poisson", missing=0.2, …)`."""
    return _simulated_visits
