"""Visits after the one analysed, as far as they have been reached: what an interim look has not seen yet is not in the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from trialsim.analysis.replicates import joined
from trialsim.records import Estimates, VisitData


def last_visit_seen(data: VisitData) -> Int[Tensor, "replicate"]:
    """The last visit from that of the contrast on, without a gap, at which every arm has a value; at least that of the contrast."""
    seen = ~data.value.isnan()
    in_every_arm = torch.ones((len(seen), seen.shape[-1]), dtype=torch.bool, device=seen.device)
    for group in range(data.n_groups):
        in_every_arm &= (seen & (data.group == group)[..., None]).any(1)
    return data.at + in_every_arm[:, data.at + 1 :].to(torch.int64).cumprod(-1).sum(-1)


def by_visits_seen(data: VisitData, estimate: Callable[[VisitData], Estimates]) -> Estimates:
    """The estimates of all replicates, each from its visits up to the last one seen."""
    n_visits = data.value.shape[-1]
    if data.at == n_visits - 1:
        return estimate(data)
    last = last_visit_seen(data)
    rows, parts = [], []
    for visit in last.unique().tolist():
        some = (last == visit).nonzero()[:, 0]
        part = data if len(some) == len(last) else data.of(some)
        rows.append(some)
        parts.append(estimate(part if visit == n_visits - 1 else dataclasses.replace(part, value=part.value[..., : visit + 1].contiguous())))
    return joined(parts, torch.cat(rows).argsort())
