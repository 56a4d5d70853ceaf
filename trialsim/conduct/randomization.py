"""Randomisation: who gets which arm, by address.

Allocation follows patient (arrival) order. Every number of the stream `allocation` is addressed by k = stratum and
i = position within the stratum:

- `simple`: inverse CDF of the ratio over the arms in protocol order.
- `permuted_block`: the numbers of a block are ranked (ties: the earlier first); ranks go to the arms in protocol order in
  proportion to the ratio; the last block is cut at n.
- `stratified_block`: permuted blocks within each crossed level of `stratify_by`.
- A list of block sizes: each block's size is drawn with equal probability from the stream `allocation/size`, addressed by
  k = stratum and i = number of the block.

Source: Rosenberger & Lachin 2016, ch. 3 (doi 10.1002/9781118742112).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from trialsim.parts import Part
from trialsim.rng import Block, Streams
from trialsim.tensors import argsort_last, at_most, rank_last


class Randomization(Part):
    """How patients are allocated to arms."""

    ratio: dict[str, int] | None = Field(default=None, description="Allocation ratio, a positive whole number for every arm; default: equal.")
    method: Literal["simple", "permuted_block", "stratified_block", "minimization", "response_adaptive"] = Field(
        default="permuted_block", description="The allocation rule."
    )
    block_size: int | list[int] | None = Field(
        default=None, description="Patients per block, a multiple of the sum of the ratio; a list is drawn from at random; default: twice the sum."
    )
    stratify_by: list[str] | None = Field(default=None, description="Covariates whose crossed levels are the strata.")
    response_adaptive: dict[str, Any] | None = Field(default=None, description="Rule of response-adaptive allocation.")

    def unsupported(self) -> Any:
        if self.method in ("minimization", "response_adaptive"):
            yield f"randomization by {self.method}"

    def allocate(
        self, streams: Streams, block: Block, n: int, *, arms: tuple[str, ...], stratum: Int[Tensor, "replicate patient"] | None = None, n_strata: int = 1
    ) -> Int[Tensor, "replicate patient"]:
        """The arm of every patient (int8 index into `arms`). `stratum` is needed by `stratified_block` only."""
        ratio = [self.ratio[arm] for arm in arms] if self.ratio else [1] * len(arms)
        stream = streams("allocation")
        if self.method == "simple":
            edges = torch.tensor(np.cumsum(ratio)[:-1] / sum(ratio), dtype=torch.float64, device=streams.device)
            return torch.bucketize(stream.uniform(block, n), edges, right=True).to(torch.int8)
        sizes = self.block_size if isinstance(self.block_size, list) else [self.block_size or 2 * sum(ratio)]
        if self.method == "permuted_block" or stratum is None:
            return self._blocks(streams, block, n, 0, ratio, sizes)
        arm = torch.empty((block.size, n), dtype=torch.int8, device=streams.device)
        for level in range(n_strata):
            member = stratum == level
            position = member.cumsum(-1) - 1
            largest = int(position[:, -1].max()) + 1
            if largest:
                allocated = self._blocks(streams, block, largest, level, ratio, sizes)
                arm = torch.where(member, allocated.gather(-1, position.clamp_(min=0)), arm)
        return arm

    @staticmethod
    def _blocks(streams: Streams, block: Block, n: int, level: int, ratio: list[int], sizes: list[int]) -> Int[Tensor, "replicate position"]:
        stream = streams("allocation")
        if len(sizes) == 1:
            size = sizes[0]
            n_blocks = -(-n // size)
            numbers = stream.uniform(block, n_blocks * size, index=level).view(block.size, n_blocks, size)
            return _arms_of_block(numbers, ratio).view(block.size, -1)[:, :n]
        return _varying_blocks(streams, block, n, level, ratio, sizes)


def _arms_of_block(numbers: Float[Tensor, "replicate block position"], ratio: list[int]) -> Int[Tensor, "replicate block position"]:
    """Rank the numbers of each block; ranks go to arms in order, in proportion to the ratio."""
    share = numbers.shape[-1] // sum(ratio)
    rank = rank_last(numbers)
    edges = [torch.tensor(edge * share, dtype=rank.dtype, device=rank.device) for edge in np.cumsum(ratio)[:-1].tolist()]
    arm = at_most(edges[0], rank).view(torch.int8)
    for edge in edges[1:]:
        arm += at_most(edge, rank).view(torch.int8)
    return arm


def _varying_blocks(streams: Streams, block: Block, n: int, level: int, ratio: list[int], sizes: list[int]) -> Int[Tensor, "replicate position"]:
    """Blocks of sizes drawn at random. The k-th position of the stream belongs to the k-th allocated patient of the stratum."""
    n_blocks = -(-n // min(sizes))
    drawn = streams("allocation/size").uniform(block, n_blocks, index=level)
    size = torch.tensor(sizes, device=streams.device)[(drawn * len(sizes)).to(torch.int64).clamp_(max=len(sizes) - 1)]
    ends = size.cumsum(-1)
    total = int(ends.max())
    numbers = streams("allocation").uniform(block, total, index=level)
    position = torch.arange(total, device=streams.device).expand(block.size, total).contiguous()
    block_of = torch.searchsorted(ends, position, right=True).clamp_(max=n_blocks - 1)
    order = argsort_last(numbers)
    order = order.gather(-1, argsort_last(block_of.gather(-1, order)))  # by block, and within a block by number
    rank = torch.empty_like(order).scatter_(-1, order, position)
    rank_in_block = rank - (ends - size).gather(-1, block_of)
    share = size.gather(-1, block_of) // sum(ratio)
    arm = torch.zeros_like(rank)
    for edge in np.cumsum(ratio)[:-1].tolist():
        arm += rank_in_block >= share * edge
    # Behind the last block of a row, which ends at n or later, the arms mean nothing.
    return arm.to(torch.int8)[:, :n]
