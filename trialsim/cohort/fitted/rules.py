"""Columns that follow from another: step functions, and copies in another unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

_RULE_ERROR = 0.01
_OF_MINORITY = 0.1
_SHARED = 10
_LEAST_COPY = 0.999  # squared correlation of a copy with its source


@dataclass(frozen=True, slots=True)
class Rule:
    """The column is a step function of another: its level is `levels[k]` where `source` lies between cuts k − 1 and k.

    `values` are what a cohort holds for each level. A source `<column>.missing` is 1 where that column is missing.
    """

    source: str
    cuts: tuple[float, ...]
    levels: tuple[int, ...]
    values: tuple[float, ...]

    def level(self, source: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The level's index, given the source as a cohort holds it."""
        out = torch.full_like(source, float(self.levels[0]))
        for cut, (before, after) in zip(self.cuts, pairwise(self.levels), strict=True):
            out.add_(source > cut, alpha=float(after - before))
        return out


@dataclass(frozen=True, slots=True)
class Copy:
    """The column is intercept + slope · source: the same quantity again, or in another unit."""

    source: str
    intercept: float
    slope: float

    def value(self, source: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The column, given the source as a cohort holds it."""
        return source * self.slope + self.intercept


AnyRule = Rule | Copy


def rule_as_json(rule: AnyRule) -> dict[str, Any]:
    """The rule for a file."""
    if isinstance(rule, Copy):
        return {"source": rule.source, "intercept": rule.intercept, "slope": rule.slope}
    return {"source": rule.source, "cuts": list(rule.cuts), "levels": list(rule.levels), "values": list(rule.values)}


def rule_from_json(given: Mapping[str, Any]) -> AnyRule:
    """The rule that was written."""
    if "slope" in given:
        return Copy(source=given["source"], intercept=given["intercept"], slope=given["slope"])
    return Rule(source=given["source"], cuts=tuple(given["cuts"]), levels=tuple(given["levels"]), values=tuple(given["values"]))


def step_function(x: Array, y: Array) -> tuple[float, tuple[float, ...], tuple[int, ...]] | None:
    """(share of exceptions, cuts, levels) of the best monotone step function of `x` that gives the levels `y`, or None.

    `x` and `y` `[patient]` are NaN where missing; the levels are whole numbers. At most 1 % of the patients, and 10 % of
    those outside the commonest level, may be exceptions. A cut names no patient's value: it is one that at least 10 share (an
    atom: "above 0"), or the roundest number between two.
    """
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both], y[both].astype(np.int64)
    present = np.unique(y)
    if len(present) < 2:
        return None
    order = sorted(present.tolist(), key=lambda level: float(x[y == level].mean()))
    cuts = []
    for lower, upper in pairwise(order):
        cut = _best_cut(x[y == lower], x[y == upper])
        if cut is None:
            return None
        cuts.append(cut)
    if any(a >= b for a, b in pairwise(cuts)):
        return None
    predicted = np.array(order)[np.searchsorted(np.array(cuts), x)]
    wrong = int((predicted != y).sum())
    minority = len(y) - int(np.bincount(y - y.min()).max())
    if wrong > _RULE_ERROR * len(y) or wrong > _OF_MINORITY * minority:
        return None
    return wrong / len(y), tuple(cuts), tuple(order)


def _best_cut(below: Array, above: Array) -> float | None:
    """A round number that parts two groups (x ≤ cut, x > cut) with the fewest exceptions."""
    x = np.concatenate((below, above))
    is_above = np.concatenate((np.zeros(len(below)), np.ones(len(above))))
    order = np.argsort(x, kind="stable")
    x, is_above = x[order], is_above[order]
    errors = np.cumsum(is_above)[:-1] + (len(below) - np.cumsum(1 - is_above)[:-1])
    possible = np.diff(x) > 0
    if not possible.any():
        return None
    best = int(np.argmin(np.where(possible, errors, np.inf)))
    low, high = float(x[best]), float(x[best + 1])
    if (x == low).sum() >= _SHARED:
        return low
    return float(np.nextafter(high, -np.inf)) if (x == high).sum() >= _SHARED else roundest(low, high)


def roundest(low: float, high: float) -> float:
    """The number with the fewest significant digits between two others, which it is not; 0 where that lies between them."""
    if low < 0 < high:
        return 0.0
    magnitude = int(np.floor(np.log10(max(abs(low), abs(high)))))
    for digits in range(magnitude, magnitude - 17, -1):
        for step in (5.0, 2.0, 1.0):
            unit = step * 10.0**digits
            candidate = round(float(np.floor(low / unit + 1.0) * unit), max(0, -digits))
            if low < candidate < high:
                return candidate
    return (low + high) / 2


def determined(x: Array, y: Array) -> bool:
    """Whether the levels `y` are a function of the levels `x` (both whole numbers, NaN missing), with the exceptions a rule may have."""
    both = ~np.isnan(x) & ~np.isnan(y)
    if not both.any():
        return False
    _, one = np.unique(x[both], return_inverse=True)
    _, two = np.unique(y[both], return_inverse=True)
    table = np.zeros((one.max() + 1, two.max() + 1))
    np.add.at(table, (one, two), 1.0)
    wrong, minority = table.sum() - table.max(axis=1).sum(), table.sum() - table.sum(axis=0).max()
    return bool(wrong <= _RULE_ERROR * table.sum() and wrong <= _OF_MINORITY * minority)


def copy_of(x: Array, y: Array, *, steps: tuple[float, float]) -> tuple[float, float] | None:
    """(intercept, slope) where y = intercept + slope · x up to the rounding of both, else None.

    `steps` are the resolutions of x and y. Exceptions may be 1 %, because a copy is often typed by hand.
    """
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both], y[both]
    if len(x) < 3 or x.std() == 0 or y.std() == 0 or np.corrcoef(x, y)[0, 1] ** 2 < _LEAST_COPY:
        return None
    fits = np.ones(len(x), dtype=bool)
    slope = intercept = 0.0
    for _ in range(2):  # exceptions would pull the line
        slope, intercept = np.polyfit(x[fits], y[fits], 1)
        if abs(slope - round(slope)) < 1e-3 / max(1.0, np.ptp(x[fits])):
            slope = float(round(slope))
            intercept = float(np.median(y[fits] - slope * x[fits]))
        room = 0.5 * steps[1] + 0.5 * abs(slope) * steps[0] + 1e-9 * float(np.abs(y).max())
        error = np.abs(y - intercept - slope * x)
        fits = error <= max(room * 1.01, float(np.quantile(error, 0.5)))
    wrong = int((error > room * 1.01).sum())
    if wrong > _RULE_ERROR * len(x):
        return None
    return (0.0 if abs(intercept) < room * 1e-3 + 1e-12 else float(intercept)), float(slope)
