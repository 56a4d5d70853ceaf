"""The one place that differs by device: sorting, selection, ranks and running sums over the last axis; and where constants lie.

On a CPU NumPy's vectorised sort and partition are several times faster than torch's and give the same values; the
tensors share memory with the arrays, so nothing is copied in or out. On CUDA torch does the same, with the same sort keys.

Patients are on the device of a trial, what is compiled once stays on the CPU and has a copy on the device (`resident`), and
what concerns whole trials (cuts, looks, decisions, records) is on the CPU (`on_cpu`): few numbers, many small steps.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Kept = TypeVar("Kept")


def sort_last(values: Tensor) -> Tensor:
    """`values` sorted ascending along the last axis (a new tensor). No NaN."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1))
    return torch.sort(values, dim=-1).values


def argsort_last(values: Tensor, *, stable: bool = True) -> Int[Tensor, "..."]:
    """The ascending order along the last axis, as int64 indices for `gather`. No NaN.

    On a CPU an order that is not `stable` (equal values in any order) is found in a third of the time.
    """
    if values.device.type == "cpu":
        return torch.from_numpy(np.argsort(values.numpy(), axis=-1, kind="stable" if stable else None))
    return torch.sort(values, dim=-1, stable=True).indices


def kth_smallest(values: Float[Tensor, "replicate patient"], k: int) -> Float[Tensor, "replicate"]:
    """The k-th smallest value (k from 1) of each row; infinity when the row has fewer than k columns."""
    if k > values.shape[-1]:
        return torch.full(values.shape[:-1], torch.inf, dtype=values.dtype, device=values.device)
    if values.device.type == "cpu":
        return torch.from_numpy(np.partition(values.numpy(), k - 1, axis=-1)[..., k - 1].copy())
    return torch.kthvalue(values, k, dim=-1).values


def at_most(values: Num[Tensor, "..."], limit: Num[Tensor, "..."]) -> Bool[Tensor, "..."]:
    """`values <= limit`; shapes broadcast."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.less_equal(values.numpy(), limit.numpy()))
    return values <= limit


def rank_last(values: Float[Tensor, "... position"]) -> Int[Tensor, "... position"]:
    """The rank (from 0) of each value along the last axis, ties: the earlier first; of some whole-number type. No NaN."""
    if values.device.type != "cpu":
        return torch.sort(torch.sort(values, dim=-1, stable=True).indices, dim=-1).indices
    numbers = values.numpy()
    size = numbers.shape[-1]
    if size <= MOST_BY_PAIRS:
        return torch.from_numpy(_rank_by_pairs(numbers))
    order = np.argsort(numbers, axis=-1, kind="stable")
    rank = np.empty(numbers.shape, dtype=np.int16 if size < 1 << 15 else np.int64)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(size, dtype=rank.dtype), order.shape), axis=-1)
    return torch.from_numpy(rank)


MOST_BY_PAIRS = 8


def _rank_by_pairs(numbers: Float[np.ndarray, "... position"]) -> Int[np.ndarray, "... position"]:
    """The rank of each number in its small block, by comparing every pair; faster than a sort up to eight."""
    size = numbers.shape[-1]
    columns = [np.ascontiguousarray(numbers[..., position]) for position in range(size)]
    # Each starts as if it were greater than none before it and than all behind it.
    ranks = [np.full(columns[0].shape, size - 1 - position, dtype=np.int8) for position in range(size)]
    for later in range(1, size):
        for earlier in range(later):
            first = (columns[earlier] <= columns[later]).view(np.int8)
            ranks[later] += first
            ranks[earlier] -= first
    out = np.empty(numbers.shape, dtype=np.int8)
    for position in range(size):
        out[..., position] = ranks[position]
    return out


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
    those rows are named. What is carried rides in the lowest bits of the sort key: two, and as many as the strata need
    (`n_strata` up to 64). Times that differ in these bits only count as equal.
    """
    if time.device.type != "cpu":
        return _sort_by_torch(time, event, group, stratum, n_strata)
    code = event.numpy().view(np.uint8) ^ np.uint8(1)
    if stratum is not None:
        width = (n_strata - 1).bit_length()
        code = (code << np.uint8(width)) | stratum.numpy().astype(np.uint8)
    else:
        width = 0
    code += code
    code |= group.numpy().view(np.uint8)
    key = np.negative(time.numpy())
    bits = key.view(np.int64)
    np.bitwise_and(bits, -(4 << width), out=bits)
    np.bitwise_or(bits, code, out=bits)
    key.sort(axis=-1)
    code = bits.astype(np.uint8)  # the lowest byte
    code &= (4 << width) - 1
    happened = code < (2 << width)
    flat = bits.reshape(-1)  # across the ends of rows too, which costs less than leaving them out
    rows_with_ties = np.zeros(len(key), dtype=bool)
    if (np.bitwise_xor(flat[:-1], flat[1:]).view(np.uint64) < (4 << width)).any():
        near = np.bitwise_xor(bits[:, :-1], bits[:, 1:]).view(np.uint64) < (4 << width)
        rows_with_ties = (near & happened[:, 1:] & happened[:, :-1]).any(-1)
    carried = None if stratum is None else torch.from_numpy(((code >> 1) & ((1 << width) - 1)).view(np.int8))
    return torch.from_numpy(happened), torch.from_numpy((code & 1).view(np.int8)), carried, torch.from_numpy(rows_with_ties)


def _sort_by_torch(
    time: Float[Tensor, "replicate patient"],
    event: Bool[Tensor, "replicate patient"],
    group: Int[Tensor, "replicate patient"],
    stratum: Int[Tensor, "replicate patient"] | None,
    n_strata: int,
) -> tuple[Bool[Tensor, "replicate rank"], Int[Tensor, "replicate rank"], Int[Tensor, "replicate rank"] | None, Bool[Tensor, "replicate"]]:
    """`sort_longest_first` with torch: the same keys, so the same order."""
    code, width = (~event).to(torch.int64), 0
    if stratum is not None:
        width = (n_strata - 1).bit_length()
        code = (code << width) | stratum
    code = (code << 1) | group
    bits = torch.sort(((time.neg().view(torch.int64) & -(4 << width)) | code).view(torch.float64), dim=-1).values.view(torch.int64)
    code = bits & ((4 << width) - 1)
    happened = code < (2 << width)
    apart = bits[:, :-1] ^ bits[:, 1:]  # negative where the signs differ
    near = (apart >= 0) & (apart < (4 << width))
    tied = (near & happened[:, 1:] & happened[:, :-1]).any(-1)
    carried = None if stratum is None else ((code >> 1) & ((1 << width) - 1)).to(torch.int8)
    return happened, (code & 1).to(torch.int8), carried, tied


def order_longest_first(time: Float[Tensor, "replicate patient"], event: Bool[Tensor, "replicate patient"]) -> Int[Tensor, "replicate rank"]:
    """The order of falling time, censored first at equal times, negative times last: `sort_longest_first` for `gather`."""
    if time.device.type != "cpu":
        key = (time.neg().view(torch.int64) & -4) | ((~event).to(torch.int64) << 1)
        return torch.sort(key.view(torch.float64), dim=-1, stable=True).indices
    key = np.negative(time.numpy())
    bits = key.view(np.int64)
    np.bitwise_and(bits, -4, out=bits)
    np.bitwise_or(bits, (event.numpy().view(np.int8) ^ 1) << 1, out=bits)
    return torch.from_numpy(np.argsort(key, axis=-1))


_elsewhere = WeakTensorKeyDictionary()  # by constant: its copies, by device


def resident(constant: Tensor, device: torch.device) -> Tensor:
    """A constant (made once, on the CPU) on a device. It is copied there once, and the copy lives as long as the constant."""
    if device.type == "cpu":
        return constant
    copies: dict[torch.device, Tensor] = _elsewhere.setdefault(constant, {})
    if device not in copies:
        copies[device] = constant.to(device)
    return copies[device]


def on_cpu(value: Kept) -> Kept:
    """A tensor, or a record (or a mapping or tuple) of tensors, on the CPU; itself where it is there already."""
    found: Any = value
    if isinstance(value, Tensor):
        found = value.cpu()
    elif isinstance(value, Mapping):
        items = {key: on_cpu(item) for key, item in value.items()}
        found = value if all(items[key] is value[key] for key in items) else items
    elif isinstance(value, tuple):
        parts = tuple(on_cpu(item) for item in value)
        found = value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        moved = {name: new for name, old in fields.items() if (new := on_cpu(old)) is not old}
        found = dataclasses.replace(value, **moved) if moved else value
    return found


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
