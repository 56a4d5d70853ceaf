"""How far each column's distribution is from the real one, one column at a time.

Kolmogorov–Smirnov  sup_x |F(x) − G(x)|,  Wasserstein  ∫ |F(x) − G(x)| dx / SD of the real column,  total variation
½ Σ_l |p_l − q_l| for categories. Each is a difference of means of one function of the column: an indicator below the point
where the curves are farthest apart, a function of slope ±1, an indicator of the levels that are too frequent. The standard
error is that of this difference with the function held fixed (delta method); it is not defined where the distance is 0.
Missing cells are left out on both sides (see `missingness`).

**Source:** Müller 1997, Adv Appl Probab 29:429, doi 10.2307/1428011 (integral probability metrics); Raghavachari 1973, Ann
Stat 1:67, doi 10.1214/aos/1193342382 (the KS distance between different distributions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import Array, ComparedColumn, SideBySide


@dataclass(frozen=True, slots=True)
class Margin:
    """The distances of one column: KS and Wasserstein of a number, total variation of a category."""

    column: str
    role: str
    ks: Measured | None
    wasserstein: Measured | None
    tv: Measured | None

    def as_json(self) -> dict[str, Any]:
        distances = {name: None if found is None else found.as_json() for name, found in (("ks", self.ks), ("wasserstein", self.wasserstein), ("tv", self.tv))}
        return {"column": self.column, "role": self.role, **distances}


def margin_distances(pair: SideBySide) -> tuple[Margin, ...]:
    """Every column's distances, in the data's order. A column without a known cell on one side is at the largest distance."""
    return tuple(_margin(column) for column in pair.columns)


def _margin(column: ComparedColumn) -> Margin:
    real, synthetic = column.real[~np.isnan(column.real)], column.synthetic[~np.isnan(column.synthetic)]
    if column.levels:
        return Margin(column.name, column.role, None, None, total_variation(real, synthetic, len(column.levels)))
    return Margin(column.name, column.role, kolmogorov_smirnov(real, synthetic), wasserstein(real, synthetic), None)


def kolmogorov_smirnov(real: Array, synthetic: Array) -> Measured:
    """The largest vertical distance between two empirical distribution functions."""
    n, m = len(real), len(synthetic)
    if not n or not m:
        return Measured(1.0, np.nan, n, m)
    _, below_real, below_synthetic = _distribution_functions(real, synthetic)
    place = int(np.argmax(np.abs(below_real - below_synthetic)))
    p, q = float(below_real[place]), float(below_synthetic[place])
    return Measured(abs(p - q), float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m)), n, m)


def wasserstein(real: Array, synthetic: Array) -> Measured:
    """The mean distance that values would have to move, in standard deviations of the real column (NaN where that is 0)."""
    n, m = len(real), len(synthetic)
    spread = float(real.std(ddof=1)) if n > 1 else 0.0
    if n < 2 or not m or spread == 0:
        return Measured(0.0 if n and m and spread == 0 and np.ptp(np.concatenate((real, synthetic))) == 0 else np.inf if n and m else np.nan, np.nan, n, m)
    points, below_real, below_synthetic = _distribution_functions(real, synthetic)
    gap, width = below_real[:-1] - below_synthetic[:-1], np.diff(points)
    potential = np.concatenate(([0.0], np.cumsum(np.sign(gap) * width)))
    ours, theirs = potential[np.searchsorted(points, real)], potential[np.searchsorted(points, synthetic)]
    variance = ours.var(ddof=1) / n + (theirs.var(ddof=1) / m if m > 1 else np.inf)
    return Measured(float((np.abs(gap) * width).sum()) / spread, float(np.sqrt(variance)) / spread, n, m)


def total_variation(real: Array, synthetic: Array, n_levels: int) -> Measured:
    """Half the sum of the absolute differences of the levels' shares."""
    n, m = len(real), len(synthetic)
    if not n or not m:
        return Measured(1.0, np.nan, n, m)
    p = np.bincount(real.astype(np.int64), minlength=n_levels) / n
    q = np.bincount(synthetic.astype(np.int64), minlength=n_levels) / m
    rarer = p > q
    a, b = float(p[rarer].sum()), float(q[rarer].sum())
    return Measured(float(np.abs(p - q).sum()) / 2, float(np.sqrt(a * (1 - a) / n + b * (1 - b) / m)), n, m)


def _distribution_functions(real: Array, synthetic: Array) -> tuple[Array, Array, Array]:
    """The distinct values of both, and the two empirical distribution functions there."""
    points = np.unique(np.concatenate((real, synthetic)))
    ours, theirs = (np.searchsorted(np.sort(column), points, side="right") / len(column) for column in (real, synthetic))
    return points, ours, theirs
