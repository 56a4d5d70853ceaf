"""A published survival curve, digitised: its points, its numbers at risk, and the hazard that follows it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trialsim.data import read_table
from trialsim.data.cells import place_of_row
from trialsim.errors import DataError, Problem

Array = NDArray[np.float64]

TOLERANCE = 0.005
"""How far the hazard's survival may be from a digitised point: about the width of a printed line."""
SLIP = 0.02
"""A rise of the curve up to this is the hand that digitised it; more is an error."""
FLOOR = 1e-3
_TAIL = 1 / 3


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """Survival `[point]` at `time` (days), from (0, 1), never rising; numbers at risk `[mark]` just before `at_risk_time`."""

    time: Array
    survival: Array
    at_risk_time: Array
    at_risk: Array

    def at(self, t: Array) -> Array:
        """Survival at the times `t`, linear between points and level after the last."""
        return np.interp(t, self.time, self.survival)


def read_curve(path: Path, *, days: float = 1.0, shown: str | None = None) -> SurvivalCurve:
    """The curve in a CSV or Parquet file with the columns `time`, `survival` and, where it is known, `at_risk`.

    `days` is the length of the file's unit of time. Rows may be in any order; a row may have a number at risk, a survival, or
    both. The start (0, 1) is added. The curve is made level where it rises by no more than 0.02.

    Raises DataError with the line: a survival outside [0, 1] (percentages), a negative time, a larger rise, numbers at risk
    that grow or are not whole, fewer than two points or none after time 0.
    """
    table = read_table(path, shown=shown)
    time, survival = table.numbers("time") * days, table.numbers("survival")
    at_risk = table.numbers("at_risk") if "at_risk" in table.names else np.full(table.n, np.nan)
    problems: list[Problem] = []

    def wrong(row: np.integer, message: str) -> None:
        problems.append(Problem(message, **place_of_row(table.path, table.file, int(row))))

    for row in np.flatnonzero(np.isnan(time) | (time < 0)):
        wrong(row, "the time is missing or negative")
    for row in np.flatnonzero((survival < 0) | (survival > 1)):
        percent = "; write a proportion, not a percentage" if 1 < survival[row] <= 100 else ""
        wrong(row, f"the survival {survival[row]:g} is not between 0 and 1{percent}")
    for row in np.flatnonzero((at_risk < 0) | (at_risk != np.round(at_risk)) & ~np.isnan(at_risk)):
        wrong(row, f"the number at risk {at_risk[row]:g} is not a whole number from 0")
    if problems:
        raise DataError(problems)
    points = _in_order(time, survival, ~np.isnan(survival))
    for before, after in pairwise(points):
        if survival[after] > survival[before] + SLIP:
            wrong(after, f"the survival rises from {survival[before]:g} to {survival[after]:g}")
    marks = _in_order(time, -at_risk, ~np.isnan(at_risk))
    for before, after in pairwise(marks):
        if at_risk[after] > at_risk[before]:
            wrong(after, f"the number at risk grows from {at_risk[before]:g} to {at_risk[after]:g}")
    if len(points) < 2:
        problems.append(Problem(f"has {len(points)} points of survival; at least 2 are needed", file=table.file))
    elif time[points[-1]] == 0:
        problems.append(Problem("has no point of survival after time 0", file=table.file))
    if problems:
        raise DataError(problems)
    return SurvivalCurve(
        time=np.concatenate(([0.0], time[points])),
        survival=np.minimum.accumulate(np.concatenate(([1.0], survival[points]))),
        at_risk_time=time[marks],
        at_risk=at_risk[marks],
    )


def _in_order(time: Array, falling: Array, there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows that are there in order of time; at one time the higher first (a step is two points)."""
    rows = np.flatnonzero(there)
    return rows[np.lexsort((-falling[rows], time[rows]))]


def hazard_pieces(curve: SurvivalCurve, tolerance: float | Array = TOLERANCE) -> tuple[Array, Array]:
    """(breaks `[k]`, hazards per day `[k + 1]`) of the piecewise exponential law that follows the curve.

    The fewest pieces, each as long as can be, whose survival is within `tolerance` of every point (one number, or one per
    point: wider where few patients are left). Within a piece the cumulative hazard −log S is a line between two points.
    After the last point the hazard is that of the last third of the curve. The curve ends where it comes to 0.001 or less, which
    counts as 0.001: what is drawn after that says nothing.

    Not handled: a curve's standard error when there are no numbers at risk.
    """
    time, cumulative = _without_steps(curve)
    allowed = np.interp(time, curve.time, np.broadcast_to(tolerance, curve.time.shape))
    survival = np.exp(-cumulative)
    breaks, hazards, start = [], [], 0
    while start < len(time) - 1:
        end = start + 1
        for candidate in range(start + 2, len(time)):
            inner = slice(start + 1, candidate)
            slope = (cumulative[candidate] - cumulative[start]) / (time[candidate] - time[start])
            line = np.exp(-(cumulative[start] + slope * (time[inner] - time[start])))
            if (np.abs(line - survival[inner]) <= allowed[inner]).all():
                end = candidate
        breaks.append(time[end])
        hazards.append((cumulative[end] - cumulative[start]) / (time[end] - time[start]))
        start = end
    late = time[-1] * (1.0 - _TAIL)
    hazards.append((cumulative[-1] - np.interp(late, time, cumulative)) / (time[-1] - late))
    return np.array(breaks), np.array(hazards)


def _without_steps(curve: SurvivalCurve) -> tuple[Array, Array]:
    """(time, −log S) with one point at a time, the middle of a step that is drawn as two, up to the first where nobody is left."""
    time, place = np.unique(curve.time, return_inverse=True)
    middle = np.bincount(place, weights=curve.survival) / np.bincount(place)
    middle[0] = 1.0
    at_floor = np.flatnonzero(middle[1:] <= FLOOR)
    last = len(time) if len(at_floor) == 0 else int(at_floor[0]) + 2
    return time[:last], -np.log(np.maximum(middle[:last], FLOOR))
