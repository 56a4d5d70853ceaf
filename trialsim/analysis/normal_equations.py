"""Small symmetric systems, one per replicate, solved entry by entry so that a replicate's bits do not depend on its block.

    A = L D L',   L unit lower triangular, D diagonal, without pivoting.

A column that earlier ones determine (a pivot below 1e-10 of the diagonal) is dropped: its coefficient is 0 and it costs
nothing, as in R's `glm`. The pivot of the *last* column is its information given all others, so its variance is 1/pivot.

**Source:** Golub & Van Loan 2013, section 4.1 (ISBN 978-1-4214-0794-4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SMALL_PIVOT = 1e-10  # relative to the diagonal


@dataclass(frozen=True, slots=True)
class Factor:
    """L D L' of the matrices of a block. `inverse` is 1/pivot, 0 where the column was dropped."""

    lower: Float[Tensor, "column column replicate"]
    pivots: Float[Tensor, "column replicate"]
    inverse: Float[Tensor, "column replicate"]

    def solve(self, b: Float[Tensor, "column replicate"]) -> Float[Tensor, "column replicate"]:
        """x with A x = b; 0 in dropped columns."""
        p = len(b)
        x = list(b)
        for j in range(p):
            for k in range(j):
                x[j] = x[j] - self.lower[j, k] * x[k]
        x = [value * inverse for value, inverse in zip(x, self.inverse, strict=True)]
        for j in reversed(range(p)):
            for k in range(j + 1, p):
                x[j] = x[j] - self.lower[k, j] * x[k]
        return torch.stack(x)

    def column(self, j: int) -> Float[Tensor, "column replicate"]:
        """Column j of the inverse of A (j may be negative)."""
        unit = torch.zeros_like(self.pivots)
        unit[j] = 1.0
        return self.solve(unit)


def factorise(a: Float[Tensor, "column column replicate"]) -> Factor:
    """The factor of symmetric matrices that are not negative; only the lower triangle is read."""
    p = len(a)
    a = a.clone()
    lower, pivots = torch.zeros_like(a), torch.zeros_like(a[0])
    inverse = torch.zeros_like(pivots)
    diagonal = [a[j, j].clone() for j in range(p)]
    for j in range(p):
        sound = (a[j, j] > SMALL_PIVOT * diagonal[j]) & (diagonal[j] > 0)
        pivots[j] = torch.where(sound, a[j, j], 0.0)
        inverse[j] = torch.where(sound, 1.0 / a[j, j], 0.0)
        if j == p - 1:
            break
        below = a[j + 1 :, j].clone()
        lower[j + 1 :, j] = below * inverse[j]
        a[j + 1 :, j + 1 :] = a[j + 1 :, j + 1 :] - lower[j + 1 :, j][:, None] * below[None]
    return Factor(lower=lower, pivots=pivots, inverse=inverse)


def weighted_products(x: Float[Tensor, "column replicate patient"], weight: Float[Tensor, "replicate patient"]) -> Float[Tensor, "column column replicate"]:
    """Σ w x x' over patients: the lower triangle, 0 above it."""
    p = len(x)
    a = torch.zeros((p, p, x.shape[1]), dtype=x.dtype, device=x.device)
    for j in range(p):
        weighted = weight * x[j]
        for k in range(j + 1):
            a[j, k] = (weighted * x[k]).sum(-1)
    return a


def combined(coefficients: Float[Tensor, "column replicate"], x: Float[Tensor, "column replicate patient"]) -> Float[Tensor, "replicate patient"]:
    """Σ b x over columns, in their order."""
    total = coefficients[0][:, None] * x[0]
    for coefficient, column in zip(coefficients[1:], x[1:], strict=True):
        total = total + coefficient[:, None] * column
    return total


def dot(a: Float[Tensor, "column replicate"], b: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate"]:
    """Σ a b over columns, in their order."""
    total = a[0] * b[0]
    for left, right in zip(a[1:], b[1:], strict=True):
        total = total + left * right
    return total
