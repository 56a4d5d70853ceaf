"""Many small symmetric matrices at once, replicates last: [row, column, ..., replicate].

Everything is elementwise over the trailing axes, so a replicate's bits do not depend on the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def invert(a: Float[Tensor, "k k *batch"]) -> tuple[Float[Tensor, "k k *batch"], Float[Tensor, "k *batch"]]:
    """The inverse of positive definite matrices, and the pivots (their product is the determinant).

    The sweep operator, without pivoting. Where a matrix is not positive definite both are NaN.

    **Source:** Goodnight 1979 (doi 10.1080/00031305.1979.10482685).
    """
    a = a.clone(memory_format=torch.contiguous_format)
    rows, columns = a.unbind(0), a.unbind(1)
    upright, diagonal = a.unsqueeze(1).unbind(2), a.diagonal(dim1=0, dim2=1).unbind(-1)
    pivots = []
    for j in range(len(a)):
        pivots.append(diagonal[j].clone())
        inverse = 1.0 / pivots[j]
        row = rows[j] * inverse
        a.sub_(upright[j] * row)
        rows[j].copy_(row)
        columns[j].copy_(row)
        diagonal[j].copy_(-inverse)
    found = torch.stack(pivots)
    sound = (found > 0).all(0)
    return torch.where(sound, -a, torch.nan), torch.where(sound, found, torch.nan)


def multiply(a: Float[Tensor, "i k *#batch"], b: Float[Tensor, "k j *#batch"]) -> Tensor:
    """The products a b, [i, j, batch], added up in the order of k."""
    return _add_products(a.unsqueeze(2).unbind(1), b.unbind(0))


def apply(a: Float[Tensor, "i k *#batch"], x: Float[Tensor, "k *#batch"]) -> Tensor:
    """The products a x, [i, batch], added up in the order of k."""
    return _add_products(a.unbind(1), x.unbind(0))


def outer_sum(a: Float[Tensor, "*left pattern #replicate"], b: Float[Tensor, "*right pattern #replicate"]) -> Float[Tensor, "*left *right replicate"]:
    """Σ_o a_o ⊗ b_o, added up in the order of patterns."""
    left = a.reshape(*a.shape[:-2], *([1] * (b.ndim - 2)), *a.shape[-2:])
    return _add_products(left.unbind(-2), b.unbind(-2))


def over_patterns(a: Float[Tensor, "*batch pattern replicate"]) -> Float[Tensor, "*batch replicate"]:
    """The sum over patterns, in order."""
    return _add(a.unbind(-2))


def add_up(a: Float[Tensor, "k *batch"]) -> Float[Tensor, "*batch"]:
    """The sum over the first axis, in order."""
    return _add(a.unbind(0))


def inner(a: Tensor, b: Tensor, axes: int) -> Tensor:
    """The sum of the products of `a` and `b` over their first `axes` axes, in order."""
    product = a * b
    for _ in range(axes):
        product = add_up(product)
    return product


def _add(parts: tuple[Tensor, ...]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total.add_(part)
    return total


def _add_products(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> Tensor:
    total = left[0] * right[0]
    for a, b in zip(left[1:], right[1:], strict=True):
        total.add_(a * b)
    return total
