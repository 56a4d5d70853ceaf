"""Sums over a stream of chunks that are the same to the last bit in whatever order and grouping the chunks arrive.

A chunk's own sum is NumPy's over a fixed run of replicates; across chunks the sum is exact (Shewchuk's partials), so it
does not depend on which worker finished first. Memory is constant.

Source: Shewchuk (1997), doi 10.1007/PL00009321, section 3 (grow-expansion), as in `math.fsum`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class ExactSum:
    """A running sum without rounding error; `value` is the correctly rounded total."""

    partials: list[float] = field(default_factory=list)

    def add(self, x: float) -> None:
        """Adds one number."""
        kept = 0
        for y in self.partials:
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low:
                self.partials[kept] = low
                kept += 1
            x = high
        self.partials[kept:] = [x]

    @property
    def value(self) -> float:
        return math.fsum(self.partials)


@dataclass(slots=True)
class Moments:
    """Count, mean and standard deviation of a column that arrives in chunks.

    Deviations are taken from the mean of the first chunk that has any values, so nothing cancels.
    """

    n: int = 0
    shift: float = 0.0
    _sum: ExactSum = field(default_factory=ExactSum)
    _squares: ExactSum = field(default_factory=ExactSum)

    def add(self, values: np.ndarray) -> None:
        """Adds a chunk's values (one axis, no NaN)."""
        if values.size == 0:
            return
        values = np.ascontiguousarray(values, dtype=np.float64)
        if self.n == 0:
            self.shift = float(values.mean())
        deviation = values - self.shift
        self.n += values.size
        self._sum.add(float(deviation.sum()))
        self._squares.add(float((deviation * deviation).sum()))

    @property
    def mean(self) -> float:
        return self.shift + self._sum.value / self.n

    @property
    def sd(self) -> float:
        """With n - 1 in the denominator; 0 for a constant column and for one value."""
        if self.n < 2:
            return 0.0
        total = self._sum.value
        return math.sqrt(max(0.0, self._squares.value - total * total / self.n) / (self.n - 1))


@dataclass(slots=True)
class Share:
    """How many of how many."""

    successes: int = 0
    n: int = 0

    def add(self, hits: np.ndarray) -> None:
        """Adds a chunk's indicators (one axis)."""
        self.successes += int(np.count_nonzero(hits))
        self.n += hits.size
