"""Data for tests of analyses: real data sets as records, and blocks of simulated trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from trialsim.records import EventData, ValueData

REFERENCE = Path(__file__).parents[1] / "reference"


def _event_data(name: str, covariates: tuple[str, ...] = (), stratum: str | None = None) -> EventData:
    table = pd.read_csv(REFERENCE / "survival" / f"{name}.csv")
    if stratum is not None:
        table = table[table[stratum].notna()]
    codes = None if stratum is None else pd.Categorical(table[stratum]).codes.astype(np.int64)
    return EventData(
        time=torch.tensor(table.time.to_numpy(float))[None],
        event=torch.tensor(table.event.to_numpy() == 1)[None],
        group=torch.tensor(table.arm.to_numpy().astype(np.int8))[None],
        stratum=None if codes is None else torch.tensor(codes)[None],
        n_strata=1 if codes is None else int(codes.max()) + 1,
        covariates=torch.tensor(table[list(covariates)].to_numpy(float))[None] if covariates else None,
    )


@pytest.fixture(scope="session")
def survival_data() -> Callable[..., EventData]:
    """A real data set by name, as one replicate."""
    return _event_data


@pytest.fixture(scope="session")
def survival_rows() -> pd.DataFrame:
    """What R's survival package says about them."""
    return pd.read_csv(REFERENCE / "survival_regression.csv")


@pytest.fixture(scope="session")
def survival_method_rows() -> pd.DataFrame:
    """What R packages say about them beyond the log-rank test and Cox's model."""
    return pd.read_csv(REFERENCE / "survival_methods.csv")


def _simulated_events(
    *, replicates: int = 128, n: int = 120, columns: int = 0, strata: int = 1, tied: bool = False, log_hr: float = 0.0, seed: int = 0, absent: bool = False
) -> EventData:
    """Exponential times, uniform censoring, arms in turn; `tied` rounds half of the replicates to whole units."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    group = (torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous()
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    hazard = torch.exp(log_hr * group) if covariates is None else torch.exp(log_hr * group + 0.5 * covariates[..., 0])
    time, censoring = -torch.log(uniform(replicates, n)) * 10.0 / hazard, uniform(replicates, n) * 25.0
    event, time = time <= censoring, torch.minimum(time, censoring)
    if tied:
        time[::2] = time[::2].ceil()
    if absent:
        time[uniform(replicates, n) < 0.2] = -1.0
    stratum = torch.randint(0, strata, (replicates, n), generator=generator) if strata > 1 else None
    return EventData(time=time, event=event, group=group, stratum=stratum, n_strata=strata, covariates=covariates)


@pytest.fixture(scope="session")
def simulated_events() -> Callable[..., EventData]:
    """A block of simulated time-to-event data."""
    return _simulated_events


def _simulated_values(*, replicates: int = 128, n: int = 90, columns: int = 0, difference: float = 0.0, seed: int = 0, absent: bool = False) -> ValueData:
    """Normal values, twice as variable in the test arm, a third of the patients there."""
    generator = torch.Generator().manual_seed(seed)
    group = (torch.arange(n) % 3 == 0).to(torch.int8).expand(replicates, n).contiguous()
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    value = torch.randn((replicates, n), generator=generator, dtype=torch.float64) * (1.0 + group) + difference * group
    if covariates is not None:
        value = value + covariates.sum(-1)
    if absent:
        value[torch.rand((replicates, n), generator=generator) < 0.1] = torch.nan
    return ValueData(value=value, group=group, covariates=covariates)


@pytest.fixture(scope="session")
def simulated_values() -> Callable[..., ValueData]:
    """A block of simulated single values."""
    return _simulated_values


def _some(data: EventData | ValueData, rows: slice) -> EventData | ValueData:
    cut = {field.name: value[rows] for field in dataclasses.fields(data) if isinstance(value := getattr(data, field.name), torch.Tensor)}
    if hasattr(data, "parts"):
        cut["parts"] = tuple(_some(part, rows) for part in data.parts)
    return dataclasses.replace(data, **cut)


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[..., None]:
    """Checks that a method's numbers do not depend on the block, to the last bit."""

    def check(method, data: EventData | ValueData, favours: int = 1) -> None:
        whole = method.estimate(data, favours=favours)
        replicates = len(whole.statistic)
        for size in (1, 7, 64):
            for first in range(0, replicates, size):
                rows = slice(first, min(first + size, replicates))
                part = method.estimate(_some(data, rows), favours=favours)
                for field in dataclasses.fields(part):
                    mine, all_of_them = getattr(part, field.name), getattr(whole, field.name)
                    if mine is not None:
                        assert torch.equal(torch.nan_to_num(mine), torch.nan_to_num(all_of_them[rows])), (size, first, field.name)

    return check


@pytest.fixture(scope="session")
def method_of() -> Callable[..., object]:
    """An analysis of a method class with options, its question filled in."""

    def make(kind: type, **options: object) -> object:
        name = kind.model_fields["method"].annotation.__args__[0]
        return kind.model_validate({"endpoint": "os", "treatment": {"test": "a", "reference": "b"}, "method": name, **options})

    return make
