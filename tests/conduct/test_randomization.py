"""Allocation against a plain reading of the rule, one replicate and one block at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.conduct import Randomization
from trialsim.rng import Block, Streams

ARMS = ("a", "b", "c")


def by_hand(replicate: int, n: int, sizes: list[int], ratio: list[int], level: int = 0) -> list[int]:
    """Permuted blocks as the rule says: rank the block's numbers, deal the ranks to the arms in ratio proportion."""
    streams = Streams(5)
    one = Block(replicate, 1)
    arms: list[int] = []
    number = 0
    while len(arms) < n:
        drawn = streams("allocation/size").uniform(one, number + 1, index=level)[0, number].item()
        size = sizes[0] if len(sizes) == 1 else sizes[min(int(drawn * len(sizes)), len(sizes) - 1)]
        u = streams("allocation").uniform(one, len(arms) + size, index=level)[0, len(arms) :].tolist()
        deck = [arm for arm, share in enumerate(ratio) for _ in range(share * size // sum(ratio))]
        ranks = [sorted(range(size), key=lambda i: (u[i], i)).index(position) for position in range(size)]
        arms += [deck[rank] for rank in ranks]
        number += 1
    return arms[:n]


@pytest.mark.parametrize("ratio, sizes", [([1, 1], [4]), ([3, 1], [8]), ([2, 1, 1], [8]), ([1, 1, 1], [12]), ([2, 1, 1], [4, 8]), ([1, 1], [2, 4, 6])])
def test_permuted_blocks_follow_the_rule(ratio: list[int], sizes: list[int]) -> None:
    arms = ARMS[: len(ratio)]
    rule = Randomization(ratio=dict(zip(arms, ratio, strict=True)), block_size=sizes if len(sizes) > 1 else sizes[0])
    got = rule.allocate(Streams(5), Block(20, 3), 101, arms=arms)
    for row in range(3):
        assert got[row].tolist() == by_hand(20 + row, 101, sizes, ratio)


def test_stratified_blocks_are_permuted_blocks_within_each_stratum() -> None:
    rule = Randomization(ratio={"a": 1, "b": 1}, method="stratified_block", block_size=4, stratify_by=["x"])
    stratum = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (4, 80)))
    got = rule.allocate(Streams(5), Block(2, 4), 80, arms=("a", "b"), stratum=stratum, n_strata=3)
    for row in range(4):
        for level in range(3):
            member = stratum[row] == level
            assert got[row][member].tolist() == by_hand(2 + row, int(member.sum()), [4], [1, 1], level)


def test_simple_allocation_is_the_inverse_cdf_of_the_ratio() -> None:
    rule = Randomization(ratio={"a": 2, "b": 1, "c": 1}, method="simple")
    got = rule.allocate(Streams(9), Block(0, 50), 400, arms=ARMS)
    u = Streams(9)("allocation").uniform(Block(0, 50), 400).numpy()
    np.testing.assert_array_equal(got.numpy(), np.searchsorted([0.5, 0.75], u, side="right"))


@pytest.mark.parametrize("method, block_size", [("simple", None), ("permuted_block", 6), ("permuted_block", [6, 9]), ("stratified_block", 6)])
def test_same_bits_at_any_block_size(method: str, block_size: int | list[int] | None) -> None:
    rule = Randomization(ratio=dict.fromkeys(ARMS, 1), method=method, block_size=block_size, stratify_by=["x"])  # type: ignore[arg-type]
    stratum = torch.from_numpy(np.random.default_rng(2).integers(0, 2, (64, 70)))
    whole = rule.allocate(Streams(3), Block(0, 64), 70, arms=ARMS, stratum=stratum, n_strata=2)
    for size in (1, 7):
        parts = [
            rule.allocate(Streams(3), Block(first, min(size, 64 - first)), 70, arms=ARMS, stratum=stratum[first : first + size], n_strata=2)
            for first in range(0, 64, size)
        ]
        assert torch.equal(torch.cat(parts), whole)
