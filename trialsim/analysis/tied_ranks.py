"""Runs of ranks that are alike: patients of one time, of one value, of one stratum."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def runs(new: Bool[Tensor, "replicate step"]) -> tuple[Int[Tensor, "replicate rank"], Int[Tensor, "replicate rank"]]:
    """First and last rank of the run each rank belongs to; `new[:, r]` says that a run begins at rank r + 1."""
    n = new.shape[-1] + 1
    rank = torch.arange(n, device=new.device)
    edge = torch.ones((len(new), 1), dtype=torch.bool, device=new.device)
    first = torch.where(torch.cat([edge, new], dim=-1), rank, 0).cummax(-1).values
    last = torch.where(torch.cat([new, edge], dim=-1), rank, n).flip(-1).cummin(-1).values.flip(-1)
    return first, last
