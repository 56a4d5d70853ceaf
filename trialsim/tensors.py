"""The one place that differs by device: sorting, selection and running sums over the last axis.

On a CPU NumPy's vectorised sort and partition are several times faster than torch's and give the same values; the
tensors share memory with the arrays, so nothing is copied in or out. On CUDA torch does the same.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
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


def at_most(values: Float[Tensor, "..."], limit: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """`values <= limit`; shapes broadcast."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.less_equal(values.numpy(), limit.numpy()))
    return values <= limit


def count_last(mask: Bool[Tensor, "... patient"]) -> Int[Tensor, "..."]:
    """How many are true along the last axis, as int64.

    On a CPU eight bytes are added at once: lanes of a 64-bit word cannot overflow within 255 words.
    """
    if mask.device.type != "cpu":
        return mask.sum(-1)
    flags = mask.numpy().view(np.uint8)
    n = int(flags.shape[-1])
    if n % 8 or not flags.flags.c_contiguous:
        padded = np.zeros((*flags.shape[:-1], n + (-n) % 8), dtype=np.uint8)
        padded[..., :n] = flags
        flags = padded
    words = flags.view(np.uint64)
    total = np.zeros(flags.shape[:-1], dtype=np.int64)
    for start in range(0, words.shape[-1], 255):
        lanes = np.ascontiguousarray(words[..., start : start + 255].sum(-1)).view(np.uint8)
        total += lanes.reshape(*flags.shape[:-1], 8).sum(-1, dtype=np.int64)
    return torch.from_numpy(total)


MOST_STRATA = 64  # that fit beside the event and the arm into the low byte of a sort key


def sort_longest_first(
    time: Float[Tensor, "replicate patient"],
    event: Bool[Tensor, "replicate patient"],
    group: Int[Tensor, "replicate patient"],
    stratum: Int[Tensor, "replicate patient"] | None = None,
    n_strata: int = 1,
) -> tuple[Bool[Tensor, "replicate rank"], Int[Tensor, "replicate rank"], Int[Tensor, "replicate rank"] | None, Bool[Tensor, "replicate"]]:
    """Event, group and stratum in the order of falling time, and which rows hold tied events.

    Negative times (patients not in the analysis, whose `event` must be false) come last. At equal times the censored come
    first, so that the number at risk at an event is its rank, counted from 1; that fails only where events are tied, and
    those rows are named. On a CPU what is carried rides in the lowest bits of the sort key: two, and as many as the strata
    need (`n_strata` up to 64). Times that differ in these bits only count as equal.
    """
    if time.device.type != "cpu":
        order = torch.argsort(event.to(torch.int8), dim=-1, stable=True)
        order = order.gather(-1, torch.argsort(time.gather(-1, order), dim=-1, descending=True, stable=True))
        ordered, event, group = time.gather(-1, order), event.gather(-1, order), group.gather(-1, order)
        tied = ((ordered[:, 1:] == ordered[:, :-1]) & event[:, 1:] & event[:, :-1]).any(-1)
        return event, group, None if stratum is None else stratum.gather(-1, order), tied
    code = event.numpy().view(np.uint8) ^ 1
    if stratum is not None:
        width = (n_strata - 1).bit_length()
        code = (code << width) | stratum.numpy().astype(np.uint8)
    else:
        width = 0
    code = (code << 1) | group.numpy().view(np.uint8)
    key = np.negative(time.numpy())
    bits = key.view(np.int64)
    np.bitwise_and(bits, -(4 << width), out=bits)
    np.bitwise_or(bits, code, out=bits)
    key.sort(axis=-1)
    code = bits.view(np.uint8)[:, ::8] & ((4 << width) - 1)
    happened = code < (2 << width)
    near = np.bitwise_xor(bits[:, :-1], bits[:, 1:]).view(np.uint64) < (4 << width)
    rows_with_ties = (near & happened[:, 1:] & happened[:, :-1]).any(-1) if near.any() else np.zeros(len(key), dtype=bool)
    carried = None if stratum is None else torch.from_numpy(((code >> 1) & ((1 << width) - 1)).view(np.int8))
    return torch.from_numpy(happened), torch.from_numpy((code & 1).view(np.int8)), carried, torch.from_numpy(rows_with_ties)


def order_longest_first(time: Float[Tensor, "replicate patient"], event: Bool[Tensor, "replicate patient"]) -> Int[Tensor, "replicate rank"]:
    """The order of falling time, censored first at equal times, negative times last: `sort_longest_first` for `gather`."""
    if time.device.type != "cpu":
        order = torch.argsort(event.to(torch.int8), dim=-1, stable=True)
        return order.gather(-1, torch.argsort(time.gather(-1, order), dim=-1, descending=True, stable=True))
    key = np.negative(time.numpy())
    bits = key.view(np.int64)
    np.bitwise_and(bits, -4, out=bits)
    np.bitwise_or(bits, (event.numpy().view(np.int8) ^ 1) << 1, out=bits)
    return torch.from_numpy(np.argsort(key, axis=-1))


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks instead of returning them to the system; elsewhere nothing happens.

    A block of trials allocates the same dozens of arrays of some hundred kilobytes again and again; by default each would be
    mapped, zeroed page by page and unmapped. Peak memory does not change.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    for parameter, value in ((mmap_threshold, 1 << 30), (trim_threshold, 1 << 30), (top_pad, 16 << 20)):
        mallopt(parameter, value)
