"""Many small symmetric matrices at once, replicates last: [row, column, ..., replicate].

Everything is elementwise over the trailing axes, so a replicate's bits do not depend on the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def invert(a: Float[Tensor, "k k *batch"]) -> tuple[Float[Tensor, "k k *batch"], Float[Tensor, "k *batch"]]:
    """The inverse of positive definite matrices, and the pivots (their product is the determinant).

    The sweep operator, without pivoting. A matrix that is not positive definite gets NaN where a pivot is not positive,
    and everywhere after it.

    **Source:** Goodnight 1979 (doi 10.1080/00031305.1979.10482685).
    """
    a = a.clone()
    pivots = torch.empty_like(a[0])
    for j in range(len(a)):
        pivot = torch.where(a[j, j] > 0, a[j, j], torch.nan)
        pivots[j] = pivot
        column = a[:, j].clone()
        row = column / pivot
        a -= column[:, None] * row[None]
        a[j] = row
        a[:, j] = row
        a[j, j] = -1.0 / pivot
    return -a, pivots


def multiply(a: Float[Tensor, "i k *batch"], b: Float[Tensor, "k j *batch"]) -> Float[Tensor, "i j *batch"]:
    """The products a b, added up in the order of k."""
    total = a[:, 0, None] * b[None, 0]
    for k in range(1, len(b)):
        total += a[:, k, None] * b[None, k]
    return total


def apply(a: Float[Tensor, "i k *batch"], x: Float[Tensor, "k *batch"]) -> Float[Tensor, "i *batch"]:
    """The products a x, added up in the order of k."""
    total = a[:, 0] * x[0]
    for k in range(1, len(x)):
        total += a[:, k] * x[k]
    return total


def add_up(a: Float[Tensor, "k *batch"]) -> Float[Tensor, "*batch"]:
    """The sum over the first axis, in order."""
    total = a[0].clone()
    for k in range(1, len(a)):
        total += a[k]
    return total


def inner(a: Tensor, b: Tensor, axes: int) -> Tensor:
    """The sum of the products of `a` and `b` over their first `axes` axes, in order."""
    product = a * b
    for _ in range(axes):
        product = add_up(product)
    return product
