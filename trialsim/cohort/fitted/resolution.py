"""How finely a column of numbers is written: the data's own grid, or a coarser one where that would name people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_DECIMALS = 6
_STEPS_IN_RANGE = 200
_STEPS_IN_MIDDLE = 25  # of the interquartile range: in a skewed column the range says little
_MOST_POINTS = 10_000  # in the range; a finer grid is that of an instrument or a conversion, and its digits would be names


@dataclass(frozen=True, slots=True)
class Grid:
    """Values are multiples of `step`, written with `decimals`, between `low` and `high`."""

    step: float
    decimals: int
    low: float
    high: float

    def snap(self, x: Array) -> Array:
        """The nearest values of the grid (a new array); NaN stays."""
        out = np.divide(x, self.step)
        np.rint(out, out=out)
        out *= self.step
        np.clip(out, self.low, self.high, out=out)
        np.round(out, self.decimals, out=out)
        out += 0.0  # no negative zero
        return out


def grid_of(column: Array) -> Grid:
    """The grid of a column `[patient]` (NaN missing) with at least one value.

    Its step is the largest number (with up to 6 decimals) of which all values are multiples, so that whole numbers stay
    whole. Where it has more than 10,000 points in the range, it is coarsened to the largest of 1, 2 or 5 × 10^k that is at most
    1/200 of the range and 1/25 of the interquartile range. The bounds are the observed range widened by a twentieth and
    rounded outwards to two digits; a column that is never negative, or always positive, stays so.
    """
    known = column[~np.isnan(column)]
    values = np.unique(known)
    low, high = float(values[0]), float(values[-1])
    decimals, own = _own_step(values)
    step = own
    width = high - low
    if width > 0 and (own == 0 or width / own > _MOST_POINTS):
        lower, upper = np.quantile(known, (0.25, 0.75))
        coarse = min(width / _STEPS_IN_RANGE, (upper - lower) / _STEPS_IN_MIDDLE) if upper > lower else width / _STEPS_IN_RANGE
        power = int(np.floor(np.log10(coarse)))
        candidates = [factor * 10.0**exponent for exponent in (power, power - 1) for factor in (5, 2, 1)]
        nice = next(candidate for candidate in candidates if candidate <= coarse * (1 + 1e-9))
        if nice > own:
            multiple = nice if own == 0 or _divides(own, nice) else own * max(1, int(nice // own))
            step = multiple
            decimals = max(0, min(decimals, _decimals(step)))
    if width == 0 and own == 0:
        step = abs(low) or 1.0
    margin = 0.05 * width
    bottom = low - margin if low < 0 else max(0.0, low - margin)
    bounds = _outwards(bottom, down=True), _outwards(high + margin, down=False)
    if low > 0 and bounds[0] < step:
        bounds = step, bounds[1]
    if high <= 0:
        bounds = bounds[0], min(0.0, bounds[1])
    return Grid(step=step, decimals=decimals, low=bounds[0], high=bounds[1])


def _own_step(values: Array) -> tuple[int, float]:
    """(decimals, step) of the coarsest decimal grid that holds all values; a step of 0 where 6 decimals do not."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = values * 10.0**decimals
        if (np.abs(scaled) > 2**52).any():
            break
        whole = np.rint(scaled)
        if np.allclose(scaled, whole, rtol=1e-12, atol=1e-6 * min(1.0, 10.0 ** (decimals - 3))):
            step = int(np.gcd.reduce(whole.astype(np.int64)))
            return decimals, (step or 1) * 10.0**-decimals
    return MOST_DECIMALS, 0.0


def _divides(step: float, multiple: float) -> bool:
    ratio = multiple / step
    return abs(ratio - round(ratio)) < 1e-9


def _decimals(step: float) -> int:
    """How many decimals a step needs."""
    for decimals in range(16):
        if abs(step * 10.0**decimals - round(step * 10.0**decimals)) < 1e-9 * step * 10.0**decimals:
            return decimals
    return 15


def _outwards(x: float, *, down: bool) -> float:
    """Two significant digits, away from the data."""
    if x == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(x))) - 1)
    return float((np.floor if down else np.ceil)(x / unit) * unit)
