"""Competing-risks data for tests: mgus2 as a record, and blocks of simulated trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trialsim.records import EventData

REFERENCE = Path(__file__).parents[1] / "reference"


def record(time: np.ndarray, status: np.ndarray, group: np.ndarray, cause: int, covariates: np.ndarray | None = None) -> EventData:
    """One replicate; other positive codes than `cause` are competing."""
    return EventData(
        time=torch.tensor(np.asarray(time, float))[None],
        event=torch.tensor(np.asarray(status) == cause)[None],
        group=torch.tensor(np.asarray(group, np.int8))[None],
        competing=torch.tensor((np.asarray(status) > 0) & (np.asarray(status) != cause))[None],
        covariates=None if covariates is None else torch.tensor(np.asarray(covariates, float))[None],
    )


def mgus2(cause: int, covariates: tuple[str, ...] = ()) -> EventData:
    """The monoclonal gammopathy data."""
    table = pd.read_csv(REFERENCE / "competing_risks" / "mgus2.csv")
    return record(table.time, table.status, table.arm, cause, table[list(covariates)] if covariates else None)


def reference_rows(case: str) -> dict[tuple[str, int], float]:
    """(output, index) -> value."""
    rows = pd.read_csv(REFERENCE / "competing_risks" / "rows.csv")
    return {(row.output, int(row.number)): row.value for row in rows[rows.case == case].rename(columns={"index": "number"}).itertuples()}


def simulated(
    replicates: int,
    n: int = 120,
    *,
    seed: int = 0,
    tied: bool = False,
    columns: int = 0,
    strata: int = 1,
    groups: int = 2,
    log_hr: float = 0.0,
    absent: bool = False,
) -> EventData:
    """Two exponential causes and uniform censoring; `log_hr` acts on the cause of interest; half of tied replicates have whole times."""
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> torch.Tensor:
        return torch.rand((replicates, n), generator=generator, dtype=torch.float64)

    group = (torch.arange(n) % groups).to(torch.int8).expand(replicates, n).contiguous()
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    hazard = torch.exp(log_hr * (group == 1)) if covariates is None else torch.exp(log_hr * (group == 1) + 0.5 * covariates[..., 0])
    first, other, censoring = -torch.log(uniform()) * 10 / hazard, -torch.log(uniform()) * 15, uniform() * 25
    time = torch.minimum(torch.minimum(first, other), censoring)
    event, competing = time == first, (time == other) & (time != first)
    if tied:
        time[::2] = time[::2].ceil()
    if absent:
        gone = uniform() < 0.15
        time, event, competing = time.masked_fill(gone, -1.0), event & ~gone, competing & ~gone
    stratum = torch.randint(0, strata, (replicates, n), generator=generator) if strata > 1 else None
    return EventData(time, event, group, stratum, strata, covariates, competing, groups)


def codes(data: EventData, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Time, cause (0, 1, 2), group and places of the patients of one replicate who are in the analysis."""
    there = (data.time[r] >= 0).nonzero()[:, 0]
    competing = torch.zeros_like(data.event) if data.competing is None else data.competing
    cause = data.event[r, there].long() + 2 * competing[r, there].long()
    return data.time[r, there].numpy(), cause.numpy(), data.group[r, there].numpy(), there.numpy()
