"""Working correlations of a patient's visits: their moment estimates, and their square roots under missing visits.

From standardised residuals r (variance φ, common to all visits, without correction for the number of coefficients), over
the pairs of visits that a patient has,

    exchangeable   α = mean of r_j r_k / φ
    ar1            α solves Σ (r_j r_k / φ - α^g) g α^(g - 1) = 0,   g the distance of the visits
    unstructured   α_jk = mean of r_j r_k / φ

as in geepack's second estimating equation. A missing visit is a visit of its own with correlation 0 to all others.

**Source:** Liang & Zeger 1986 (doi 10.1093/biomet/73.1.13); Prentice & Zhao 1991 (doi 10.2307/2532642); Halekoh, Højsgaard & Yan
2006 (doi 10.18637/jss.v015.i02).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Structure = Literal["independence", "exchangeable", "ar1", "unstructured"]
MAX_ITERATIONS = 60
SETTLED = 1e-14


def correlation(residual: list[Tensor], there: list[Tensor], scale: Float[Tensor, "replicate"], structure: Structure) -> dict[tuple[int, int], Tensor]:
    """ρ_jk `[replicate]` for visits j > k. `residual` and `there` (1 or 0) are `[replicate, patient]` by visit."""
    n_visits = len(residual)
    pairs = [(j, k) for j in range(n_visits) for k in range(j)]
    if structure == "independence" or not pairs:
        return {}
    sums = {(j, k): (residual[j] * residual[k]).sum(-1) / scale for j, k in pairs}
    counts = {(j, k): (there[j] * there[k]).sum(-1) for j, k in pairs}
    if structure == "unstructured":
        return {pair: torch.where(counts[pair] > 0, sums[pair] / counts[pair].clamp(min=1.0), 0.0) for pair in pairs}
    if structure == "exchangeable":
        total, number = _total(list(sums.values())), _total(list(counts.values()))
        alpha = torch.where(number > 0, total / number.clamp(min=1.0), 0.0)
        return dict.fromkeys(pairs, alpha)
    by_gap = {gap: [pair for pair in pairs if pair[0] - pair[1] == gap] for gap in range(1, n_visits)}
    lagged = {gap: (_total([sums[pair] for pair in same]), _total([counts[pair] for pair in same])) for gap, same in by_gap.items()}
    alpha = _autoregressive(lagged)
    powers = {gap: alpha**gap for gap in lagged}
    return {pair: powers[pair[0] - pair[1]] for pair in pairs}


def _autoregressive(lagged: dict[int, tuple[Tensor, Tensor]]) -> Float[Tensor, "replicate"]:
    """The root of the estimating equation that has the sign of the correlation at distance 1."""
    first, number = lagged[1]
    sign = torch.where(first < 0, -1.0, 1.0).to(first.dtype)

    def equation(size: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = torch.zeros_like(size), torch.zeros_like(size)
        for gap, (product, count) in lagged.items():
            signed = product * sign**gap
            power = size ** (gap - 1)
            value = value + gap * power * (signed - count * power * size)
            slope = slope - gap * (2 * gap - 1) * count * power * power
            if gap > 1:
                slope = slope + gap * (gap - 1) * size ** (gap - 2) * signed
        return value, slope

    low, high = torch.zeros_like(first), torch.ones_like(first)
    at = (first.abs() / number.clamp(min=1.0)).clamp(0.01, 0.99)
    active = torch.ones_like(number, dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        value, slope = equation(at)
        low, high = torch.where(value > 0, at, low), torch.where(value > 0, high, at)
        proposal = at - value / slope
        inside = (proposal > low) & (proposal < high)
        proposal = torch.where(inside, proposal, 0.5 * (low + high))
        moved = (proposal - at).abs()
        at = torch.where(active, proposal, at)
        active = active & (moved > SETTLED)
        if not active.any():
            break
    return torch.where(number > 0, sign * at, 0.0)


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class Whitening:
    """The Cholesky factor of every patient's correlation, and what it makes of the visits' values."""

    def __init__(self, rho: dict[tuple[int, int], Tensor], there: list[Tensor], *, complete: bool) -> None:
        self.n_visits = len(there)
        self.lower: dict[tuple[int, int], Tensor] = {}
        self.sound = torch.ones(len(there[0]), dtype=torch.bool, device=there[0].device)
        for j in range(self.n_visits if rho else 0):
            for k in range(j):
                entry = rho[j, k][:, None] if complete else rho[j, k][:, None] * there[j] * there[k]
                for i in range(k):
                    entry = entry - self.lower[j, i] * self.lower[k, i]
                self.lower[j, k] = entry / self.lower[k, k]
            left = torch.ones_like(self.lower[j, 0]) if j else torch.ones_like(rho[1, 0][:, None])
            for k in range(j):
                left = left - self.lower[j, k] * self.lower[j, k]
            self.sound = self.sound & (left > 1e-10).all(-1)
            self.lower[j, j] = left.clamp(min=1e-10).sqrt()

    def __call__(self, values: list[Tensor]) -> list[Tensor]:
        """L⁻¹ of the values by visit; leading axes are carried along."""
        if not self.lower:
            return values
        white: list[Tensor] = []
        for j, value in enumerate(values):
            for k in range(j):
                value = value - self.lower[j, k] * white[k]
            white.append(value / self.lower[j, j])
        return white
