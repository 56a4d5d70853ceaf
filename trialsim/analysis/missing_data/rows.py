"""Some replicates of the data at a time, so that imputation has bounded memory; and their results put together."""

from __future__ import annotations

import torch
from torch import Tensor

from trialsim.records import Estimates, VisitData


def blocks(data: VisitData, at_once: int) -> list[Tensor]:
    """The replicates in groups of at most `at_once`."""
    return list(torch.arange(len(data.group), device=data.group.device).split(max(1, at_once)))


def rows_of(data: VisitData, rows: Tensor) -> VisitData:
    """Some replicates of the data."""

    def of(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[rows]

    return VisitData(
        value=data.value[rows],
        group=data.group[rows],
        at=data.at,
        baseline=of(data.baseline),
        stratum=of(data.stratum),
        n_strata=data.n_strata,
        covariates=of(data.covariates),
        n_groups=data.n_groups,
        included=of(data.included),
        noise=None if data.noise is None else data.noise.of(rows),
    )


def joined(parts: list[Estimates], order: Tensor) -> Estimates:
    """The estimates of all replicates; `order` says where in the parts each of them is."""

    def of(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])[order]

    return Estimates(
        statistic=of("statistic"),
        n=of("n"),
        failure=of("failure"),
        df=None if parts[0].df is None else of("df"),
        estimate=of("estimate"),
        std_error=of("std_error"),
    )
