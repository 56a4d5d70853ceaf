"""The baseline hazard with which a population with prognosis has a given survival curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS = 60


def baseline_hazards(breaks: Array, hazards: Array, log_hr: Array) -> Array:
    """Hazards per day `[k + 1]` at log hazard ratio 0, for a population with log hazard ratios `log_hr` `[patient]`.

    `hazards` `[k + 1]` are those of the population's curve S, piecewise constant with `breaks` `[k]` in days. The baseline's
    cumulative hazard Λ at every break solves

        mean over patients of exp(−Λ exp(log_hr)) = S

    one after the other (the left side falls in Λ): a Newton step inside a bracket. In the last piece, which has no end, the solution holds at
    twice the last break. Between breaks the population's survival is not exactly exponential; it meets the curve at every break.

    Raises ValueError where a log hazard ratio is not finite.
    """
    if not np.isfinite(log_hr).all():
        raise ValueError("a log hazard ratio is not finite")
    last = 2.0 * breaks[-1] if len(breaks) else 1.0
    ends = np.append(breaks, last)
    cumulative = np.cumsum(hazards * np.diff(ends, prepend=0.0))
    ratio = np.exp(log_hr)
    solved = np.array([_solve(target, ratio) for target in cumulative])
    return np.diff(solved, prepend=0.0) / np.diff(ends, prepend=0.0)


def _solve(target: float, ratio: Array) -> float:
    """Λ with mean(exp(−Λ r)) = exp(−target)."""
    if target <= 0.0:
        return 0.0
    low, high = 0.0, 1.0
    while _excess(high, ratio, target) > 0.0:
        low, high = high, 2.0 * high
    x = 0.5 * (low + high)
    for _ in range(_STEPS):
        left = np.exp(-x * ratio)
        survival = left.mean()
        value = np.log(survival) + target
        low, high = (x, high) if value > 0 else (low, x)
        step = x + value * survival / (left * ratio).mean()
        new = step if low < step < high else 0.5 * (low + high)
        if abs(new - x) <= 1e-14 * x:
            return float(new)
        x = new
    return float(x)


def _excess(x: float, ratio: Array, target: float) -> float:
    mean = np.exp(-x * ratio).mean()
    return float(np.log(mean) + target) if mean > 0 else -np.inf
