"""How finely a column of numbers is written: the data's own grids, or a coarser one where those would name people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_DECIMALS = 6
MOST_POINTS = 10_000  # in the range; the digits of a finer grid are those of an instrument or a conversion
_FEWEST_STEPS = 5  # in the range: a coarser lattice is no rounding
_LEAST_SHARE, _LEAST_COUNT = 0.03, 10
_STEPS_IN_MIDDLE = 1_000  # of the interquartile range: in a skewed column the range says little
_MULTIPLES = (1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 50.0, 100.0)
_ROUNDS = 200
_FEWEST = 50  # values that a lattice is looked for in
_MOST_LATTICES = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """Values are multiples of one of `steps`, chosen with `shares`, written with `decimals`, between `low` and `high`.

    The first step is the finest.
    """

    steps: tuple[float, ...]
    shares: tuple[float, ...]
    decimals: int
    low: float
    high: float

    @property
    def step(self) -> float:
        """The finest step."""
        return self.steps[0]

    def snap(self, x: Array, chooser: Array | None = None) -> Array:
        """The nearest values of the grid (a new array); NaN stays. A uniform number `chooser` tells each value's lattice; None: the finest."""
        step: float | Array = self.steps[0]
        if chooser is not None and len(self.steps) > 1:
            step = np.array(self.steps)[np.searchsorted(np.cumsum(self.shares)[:-1], chooser, side="right")]
        out = np.divide(x, step)
        np.rint(out, out=out)
        out *= step
        np.clip(out, self.low, self.high, out=out)
        np.round(out, self.decimals, out=out)
        out += 0.0  # no negative zero
        return out


def grid_of(column: Array) -> Grid:
    """The grid of a column `[patient]` (NaN missing) with at least one value.

    Its finest step is the largest number (with up to 6 decimals) of which all values are multiples, so that whole numbers
    stay whole; where it has more than 10,000 points in the range, it is coarsened to 1/10,000 of the range (or 1/1,000 of
    the interquartile range), to one of 1, 2 or 5 × 10^k. People also round to tens, or weigh in pounds: of these and of the commonest gaps between values that several share, those lattices are kept that
    hold more values than chance puts there. Their shares are the maximum of the likelihood of a mixture in which, on a
    locally flat density, lattice k of step g_k gives each of its points the probability w_k g_k f(x).

    The bounds are the observed range widened by a twentieth and rounded outwards to two digits; a column that is never
    negative, or always positive, stays so. Nothing of a single patient is kept.
    """
    known = column[~np.isnan(column)]
    values = np.unique(known)
    low, high = float(values[0]), float(values[-1])
    width = high - low
    decimals, own, fine = _finest(known, values)
    atoms = [end for end in (low, high) if (known == end).sum() >= max(_LEAST_COUNT, _LEAST_SHARE * len(known))]
    steps, shares = _lattices(known[~np.isin(known, atoms)], fine=fine, own=own or fine, decimals=decimals)
    margin = 0.05 * width
    bottom = low - margin if low < 0 else max(0.0, low - margin)
    bounds = _outwards(bottom, down=True), _outwards(high + margin, down=False)
    places = min(decimals if own else MOST_DECIMALS + 9, max(_decimals(step) for step in steps))
    if low > 0 and bounds[0] < steps[0]:
        below = steps[0] if low >= steps[0] else float(10.0 ** np.floor(np.log10(low / 2)))
        bounds = max(below, 10.0**-places), bounds[1]
    if high <= 0:
        bounds = bounds[0], min(0.0, bounds[1])
    return Grid(steps=steps, shares=shares, decimals=places, low=bounds[0], high=bounds[1])


def step_of(column: Array) -> float:
    """The finest step of the grid of a column, alone."""
    known = column[~np.isnan(column)]
    return _finest(known, np.unique(known))[2]


def _finest(known: Array, values: Array) -> tuple[int, float, float]:
    """(decimals, the step of which all values are multiples, the finest step that is written)."""
    width = float(values[-1] - values[0])
    decimals, own = _own_step(values)
    fine = own
    if width > 0 and (own == 0 or width / own > MOST_POINTS):
        middle = float(np.subtract(*np.quantile(known, (0.75, 0.25))))
        fine = _nice(min(width / MOST_POINTS, middle / _STEPS_IN_MIDDLE) if middle > 0 else width / MOST_POINTS)
        if own and not _divides(own, fine):
            fine = own * max(1.0, round(fine / own))
    return decimals, own, fine or abs(float(values[0])) or 1.0


def exact(grid: Grid) -> Grid:
    """The grid of all numbers with these decimals, for a column that is worked out from another."""
    return replace(grid, steps=(10.0**-grid.decimals,), shares=(1.0,))


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


def _lattices(known: Array, *, fine: float, own: float, decimals: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Steps, the finest first, and their shares."""
    n = len(known)
    if n < _FEWEST:
        return (fine,), (1.0,)
    values, counts = np.unique(known, return_counts=True)
    width = float(values[-1] - values[0])
    room = max(0.51 * 10.0**-decimals, 1e-9 * float(np.abs(values).max())) if own < fine else 1e-9 * float(np.abs(values).max())
    tried = {fine * multiple for multiple in _MULTIPLES} | ({own * multiple for multiple in _common_gaps(values, counts, own)} if width else set())
    candidates = sorted({float(f"{step:.12g}") for step in tried if step >= fine * (1 - 1e-9) and step <= width / _FEWEST_STEPS} | {float(f"{fine:.12g}")})
    inside = np.stack([np.abs(known - step * np.rint(known / step)) <= min(room, step / 50) for step in candidates], axis=1)
    inside[:, 0] |= ~inside.any(axis=1)  # what is on no lattice is written on the finest
    kept = list(range(len(candidates)))
    while True:
        steps = np.array([candidates[place] for place in kept])
        weights = _mixture(inside[:, kept], steps)
        error = np.array([_error(step / candidates[0], n) for step in steps])
        weak = [place for place in range(1, len(kept)) if weights[place] < max(_LEAST_SHARE, _LEAST_COUNT / n, 4.0 * error[place])]
        if not weak and len(kept) <= _MOST_LATTICES:
            break
        kept.pop(min(weak or range(1, len(kept)), key=lambda place: float(weights[place])))
    if len(kept) > 1 and weights[0] < max(_LEAST_SHARE, _LEAST_COUNT / n):  # nearly nobody is off the coarser ones
        kept, weights = kept[1:], weights[1:] / weights[1:].sum()
    return tuple(candidates[place] for place in kept), tuple(float(weight) for weight in weights)


def _mixture(inside: NDArray[np.bool_], steps: Array) -> Array:
    """The shares of lattices of which `inside` [value, lattice] says who could be a member, by expectation-maximisation."""
    patterns, counts = np.unique(inside, axis=0, return_counts=True)
    weights: Array = np.full(len(steps), 1.0 / len(steps))
    mass = patterns * steps
    for _ in range(_ROUNDS):
        before = weights
        members = mass * weights
        members /= np.maximum(members.sum(axis=1, keepdims=True), 1e-300)
        weights = counts @ members / counts.sum()
        if np.abs(weights - before).max() < 1e-5:
            break
    return weights


def _error(ratio: float, n: int) -> float:
    """The standard error of the share of a lattice that is `ratio` times as coarse as the finest, where it has no members of its own."""
    if ratio <= 1:
        return 0.0
    return float(np.sqrt((1 / ratio) * (1 - 1 / ratio) / n) / (1 - 1 / ratio))


def _common_gaps(values: Array, counts: NDArray[np.int64], own: float) -> list[float]:
    """The commonest gaps between neighbouring values that several share, and their halves, in steps of `own`."""
    shared = values[counts >= 2]
    if len(shared) < _LEAST_COUNT:
        return []
    gaps = np.rint(np.diff(shared) / own).astype(np.int64)
    common = [int(gap) for gap, times in Counter(gaps[gaps > 1].tolist()).most_common(5) if times >= _LEAST_COUNT]
    return [float(step) for gap in common for step in (gap, gap / 2)]


def _nice(least: float) -> float:
    """The smallest of 1, 2 or 5 × 10^k that is at least this."""
    power = int(np.floor(np.log10(least)))
    return next(step for exponent in (power, power + 1) for factor in (1, 2, 5) if (step := factor * 10.0**exponent) >= least * (1 - 1e-9))


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
