"""Exact quantiles of a column too long to hold, in constant memory and at most four passes.

A float64 has an order-preserving unsigned key. Each pass counts the next sixteen bits of the keys that may still be one of
the wanted order statistics; as soon as few enough are left they are collected and sorted. A column that fits is collected
in the first pass.

Source: Munro and Paterson (1980), doi 10.1016/0304-3975(80)90061-4, for selection by narrowing passes. The quantile is the
linear interpolation of order statistics, type 7 of Hyndman and Fan (1996), doi 10.1080/00031305.1996.10473566, as NumPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trialsim.evaluation.mcse import quantile_mcse, quantile_ranks

CAPACITY = 1 << 20
"""How many values a selection may hold at once (8 MiB): a million replicates are read once."""
DIGIT = 16


def sort_key(values: np.ndarray) -> np.ndarray:
    """uint64 keys in the order of the float64 values (-0.0 is 0.0)."""
    bits = (np.ascontiguousarray(values, dtype=np.float64) + 0.0).view(np.int64)
    return np.where(bits < 0, ~bits, bits ^ np.int64(-(2**63))).view(np.uint64)


def from_key(key: int) -> float:
    """The float64 that has this key."""
    bits = key ^ (1 << 63) if key >> 63 else ~key & (2**64 - 1)
    return float(np.array([bits], dtype=np.uint64).view(np.float64)[0])


class Selection:
    """The order statistics at the given ranks (from 1) of `n` values that can be streamed more than once.

    Feed every value once per pass, end the pass, and repeat until `done`; `values` then maps each rank to its value.
    """

    def __init__(self, ranks: Iterable[int], n: int, capacity: int = CAPACITY):
        self.values: dict[int, float] = {}
        self.capacity = capacity
        # prefix -> the ranks sought among the keys that start with it, counted within the prefix
        self._sought: dict[int, list[tuple[int, int]]] = {0: [(rank, rank) for rank in sorted(set(ranks))]}
        self._depth = 0
        self._start_pass(n)

    @property
    def done(self) -> bool:
        return not self._sought

    def _start_pass(self, candidates: int) -> None:
        self._collecting = candidates <= self.capacity
        self._kept: dict[int, list[np.ndarray]] = {prefix: [] for prefix in self._sought}
        self._counts = {prefix: np.zeros(1 << DIGIT, dtype=np.int64) for prefix in self._sought} if not self._collecting else {}

    def feed(self, values: np.ndarray) -> None:
        """One chunk of the column."""
        keys = sort_key(values)
        prefixes = keys >> np.uint64(64 - DIGIT * self._depth) if self._depth else np.zeros_like(keys)
        for prefix in self._sought:
            mine = keys[prefixes == np.uint64(prefix)] if self._depth else keys
            if self._collecting:
                self._kept[prefix].append(mine.copy())
            else:
                digits = (mine >> np.uint64(64 - DIGIT * (self._depth + 1))) & np.uint64((1 << DIGIT) - 1)
                self._counts[prefix] += np.bincount(digits.astype(np.int64), minlength=1 << DIGIT)

    def end_pass(self) -> None:
        """Uses what the pass counted or collected."""
        sought, self._sought = self._sought, {}
        if self._collecting:
            for prefix, wanted in sought.items():
                keys = np.sort(np.concatenate(self._kept[prefix]))
                for rank, position in wanted:
                    self.values[rank] = from_key(int(keys[position - 1]))
            self._kept = {}
            return
        self._depth += 1
        candidates = 0
        for prefix, wanted in sought.items():
            counts = self._counts[prefix]
            ends = np.cumsum(counts)
            for rank, position in wanted:
                digit = int(np.searchsorted(ends, position))
                child = prefix << DIGIT | digit
                if child not in self._sought:
                    self._sought[child] = []
                    candidates += int(counts[digit])
                self._sought[child].append((rank, position - int(ends[digit] - counts[digit])))
        if self._depth * DIGIT == 64:
            self.values.update({rank: from_key(prefix) for prefix, wanted in self._sought.items() for rank, _ in wanted})
            self._sought = {}
            return
        self._start_pass(candidates)


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of a simulated quantity, with its Monte Carlo standard error."""

    p: float
    estimate: float
    mcse: float | None
    n: int


def stream_quantiles(
    passes: Callable[[], Iterable[Mapping[str, np.ndarray]]], columns: Sequence[str], n: int, probabilities: Sequence[float], *, capacity: int = CAPACITY
) -> dict[str, list[Quantile]]:
    """Quantiles of several columns of length n, from chunks that `passes()` yields afresh at each call."""
    if n == 0:
        return {column: [] for column in columns}
    positions = {p: (n - 1) * p + 1 for p in probabilities}
    ranks = {p: (math.floor(h), math.ceil(h), *quantile_ranks(p, n)) for p, h in positions.items()}
    selections = {column: Selection((rank for four in ranks.values() for rank in four), n, capacity) for column in columns}
    while open_columns := {column: selection for column, selection in selections.items() if not selection.done}:
        for chunk in passes():
            for column, selection in open_columns.items():
                selection.feed(chunk[column])
        for selection in open_columns.values():
            selection.end_pass()
    found: dict[str, list[Quantile]] = {column: [] for column in columns}
    for column, selection in selections.items():
        for p, h in positions.items():
            below, above, low, high = (selection.values[rank] for rank in ranks[p])
            estimate = below + (above - below) * (h - math.floor(h))
            found[column].append(Quantile(p, estimate, quantile_mcse(low, high, p, n), n))
    return found
