"""The one place that differs by device: sorting, selection and running sums over the last axis.

On a CPU NumPy's vectorised sort and partition are several times faster than torch's and give the same values; the
tensors share memory with the arrays, so nothing is copied in or out. On CUDA torch does the same.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def sort_last(values: Tensor) -> Tensor:
    """`values` sorted ascending along the last axis (a new tensor). No NaN."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1))
    return torch.sort(values, dim=-1).values


def argsort_last(values: Tensor) -> Int[Tensor, "..."]:
    """The stable ascending order along the last axis, as int64 indices for `gather`."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.argsort(values.numpy(), axis=-1, kind="stable"))
    return torch.sort(values, dim=-1, stable=True).indices


def kth_smallest(values: Float[Tensor, "replicate patient"], k: int) -> Float[Tensor, "replicate"]:
    """The k-th smallest value (k from 1) of each row; infinity when the row has fewer than k columns."""
    if k > values.shape[-1]:
        return torch.full(values.shape[:-1], torch.inf, dtype=values.dtype, device=values.device)
    if values.device.type == "cpu":
        return torch.from_numpy(np.partition(values.numpy(), k - 1, axis=-1)[..., k - 1].copy())
    return torch.kthvalue(values, k, dim=-1).values
