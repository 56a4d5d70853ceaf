"""Ranks of two samples: Mann and Whitney's count of pairs, its null law, and the differences of all pairs.

    U = #{test > reference} + ½ #{equal},   Var U = n1 n0 / 12 (N + 1 - Σ (t³ - t) / (N (N - 1))),   t the sizes of ties.

**Source:** Mann & Whitney 1947 (doi 10.1214/aoms/1177730491); ties, Lehmann 1998, section 1.4 (ISBN 978-0-387-35212-1);
Hodges & Lehmann 1963 (doi 10.1214/aoms/1177704172).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from trialsim.analysis.tied_ranks import runs
from trialsim.tensors import argsort_last, sort_last

PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class RankSum:
    """U of the test arm, its null variance, the sizes of the arms, and whether any values are tied."""

    u: Float[Tensor, "replicate"]
    variance: Float[Tensor, "replicate"]
    n1: Float[Tensor, "replicate"]
    n0: Float[Tensor, "replicate"]
    tied: Bool[Tensor, "replicate"]

    @property
    def expected(self) -> Float[Tensor, "replicate"]:
        """U without a difference."""
        return 0.5 * self.n1 * self.n0


def rank_sum(value: Float[Tensor, "replicate patient"], group: Int[Tensor, "replicate patient"]) -> RankSum:
    """U and its variance; patients with NaN are left out."""
    there = ~torch.isnan(value)
    n = there.sum(-1)
    order = argsort_last(torch.where(there, value, torch.inf))
    ordered = torch.where(there, value, torch.inf).gather(-1, order)
    counted = there.gather(-1, order)
    test = counted & (group.gather(-1, order) == 1)
    first, last = runs(ordered[:, 1:] != ordered[:, :-1])
    last = torch.minimum(last, n[:, None] - 1)
    size = (last - first + 1).to(torch.float64)
    n1 = test.sum(-1).to(torch.float64)
    n0 = n.to(torch.float64) - n1
    rank = 0.5 * (first + last).to(torch.float64) + 1.0
    u = (rank * test).sum(-1) - 0.5 * n1 * (n1 + 1.0)
    ties = ((size * size - 1.0) * counted).sum(-1)  # Σ over patients of t² - 1 is Σ over ties of t³ - t
    total = n1 + n0
    variance = n1 * n0 / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).clamp(min=1.0))
    return RankSum(u=u, variance=variance, n1=n1, n0=n0, tied=ties > 0)


def exact_tails(ranks: RankSum, rows: Bool[Tensor, "replicate"]) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """P(U ≥ u) and P(U ≤ u) without a difference and without ties, in these replicates; 1 elsewhere."""
    at_least, at_most = torch.ones_like(ranks.u), torch.ones_like(ranks.u)
    sizes = torch.stack([ranks.n1, ranks.n0], dim=-1)
    for n1, n0 in torch.unique(sizes[rows], dim=0).tolist():
        mine = (rows & (ranks.n1 == n1) & (ranks.n0 == n0)).nonzero()[:, 0]
        below = torch.from_numpy(_cumulative(int(n1), int(n0))).to(ranks.u.device)  # P(U < 0), P(U < 1), …
        place = ranks.u[mine].to(torch.int64)
        at_most[mine] = below[place + 1]
        at_least[mine] = below[(ranks.n1[mine] * ranks.n0[mine]).to(torch.int64) - place + 1]  # U is symmetric
    return at_least, at_most


@lru_cache(maxsize=256)
def _cumulative(n1: int, n0: int) -> NDArray[np.float64]:
    """P(U < u) for u = 0 … n1 n0 + 1: the coefficients of a Gaussian binomial, counted in whole numbers."""
    size = n1 * n0 + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, n1 + 1):
        for j in range(size - 1, n0 + i - 1, -1):
            counts[j] -= counts[j - n0 - i]
        for j in range(i, size):
            counts[j] += counts[j - i]
    total, running, found = sum(counts), 0, [0.0]
    for count in counts:
        running += count
        found.append(running / total)
    return np.array(found)


def pair_differences(
    value: Float[Tensor, "replicate patient"], group: Int[Tensor, "replicate patient"], ranks: Float[Tensor, "rank replicate"]
) -> Float[Tensor, "rank replicate"]:
    """Differences test minus reference of all pairs of patients, the ones of these ranks (from 1) in ascending order.

    Ranks between two whole numbers give the mean of both neighbours. NaN where an arm is empty.
    """
    there = ~torch.isnan(value)
    arms = [sort_last(torch.where(there & (group == arm), value, torch.inf)) for arm in (1, 0)]
    sizes = [torch.isfinite(arm).sum(-1) for arm in arms]
    widest = [max(int(size.max()), 1) for size in sizes]
    test, reference = (arm[:, :width] for arm, width in zip(arms, widest, strict=True))
    found = torch.full(ranks.shape, torch.nan, dtype=torch.float64, device=value.device)
    at_once = max(PAIRS_AT_ONCE // (widest[0] * widest[1]), 1)
    for start in range(0, len(value), at_once):
        rows = slice(start, start + at_once)
        real = torch.isfinite(test[rows])[:, :, None] & torch.isfinite(reference[rows])[:, None, :]
        pairs = torch.where(real, test[rows][:, :, None] - torch.where(torch.isfinite(reference[rows]), reference[rows], 0.0)[:, None, :], torch.inf)
        ordered = sort_last(pairs.flatten(1))
        n_pairs = (sizes[0] * sizes[1])[rows]
        for row, wanted in enumerate(ranks[:, rows]):
            low = (wanted.floor().to(torch.int64) - 1).clamp(min=0)
            high = (wanted.ceil().to(torch.int64) - 1).clamp(min=0)
            low, high = torch.minimum(low, n_pairs - 1).clamp(min=0), torch.minimum(high, n_pairs - 1).clamp(min=0)
            middle = 0.5 * (ordered.gather(-1, low[:, None]) + ordered.gather(-1, high[:, None]))[:, 0]
            found[row, rows] = torch.where(n_pairs > 0, middle, torch.nan)
    return found
