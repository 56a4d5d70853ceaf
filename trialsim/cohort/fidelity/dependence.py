"""Whether columns go together as in the data: Pearson correlations of numbers and indicators, pair by pair.

A category of k > 2 levels is k indicators, one of 2 levels one. Each pair uses the patients with both cells known. Pairs bound by a rule
(one column follows from the other, or both from a third) and indicators of one column are left out of the maximum and
the mean: a rule is kept exactly or not at all, and `exceptions` says which. Pearson sees straight lines only; what bends is
left to the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import Array, ComparedColumn, Mask, SideBySide


@dataclass(frozen=True, slots=True)
class Pair:
    """One correlation in both tables; `error` is synthetic − real with the standard error of that difference."""

    one: str
    two: str
    real: float
    synthetic: float
    error: Measured

    def as_json(self) -> dict[str, Any]:
        return {"columns": [self.one, self.two], "real": self.real, "synthetic": self.synthetic, "error": self.error.as_json()}


@dataclass(frozen=True, slots=True)
class RuleKept:
    """How often the level of `column` is not the one that goes with the value of `source`, as shares of known cells."""

    column: str
    source: str
    real: float
    synthetic: float

    def as_json(self) -> dict[str, Any]:
        return {"column": self.column, "source": self.source, "exceptions_real": self.real, "exceptions_synthetic": self.synthetic}


@dataclass(frozen=True)
class Dependence:
    """The two matrices `[feature, feature]` (NaN where a correlation is not defined) and their differences.

    `worst` are the pairs with the largest errors, the worst first; `by_role` has the largest error of pairs of covariates
    and of all other pairs.
    """

    features: tuple[str, ...]
    real: Array
    synthetic: Array
    compared: Mask
    worst: tuple[Pair, ...]
    mean_error: float
    n_pairs: int
    by_role: dict[str, float]
    rules: tuple[RuleKept, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "largest": self.worst[0].as_json() if self.worst else None,
            "mean_absolute_error": self.mean_error,
            "n_pairs": self.n_pairs,
            "largest_by_role": self.by_role,
            "worst_pairs": [pair.as_json() for pair in self.worst],
            "rules": [rule.as_json() for rule in self.rules],
        }


def dependence(pair: SideBySide, *, n_worst: int = 10) -> Dependence:
    """The correlations of every two columns in both tables."""
    features = [feature for column in pair.columns for feature in _features(column)]
    names = tuple(name for name, _, _, _ in features)
    owners = [owner for _, owner, _, _ in features]
    real = np.stack([ours for _, _, ours, _ in features], axis=1)
    synthetic = np.stack([theirs for _, _, _, theirs in features], axis=1)
    ours, theirs = pairwise_correlation(real), pairwise_correlation(synthetic)
    free = np.array([[one.name != two.name and not pair.is_bound(one.name, two.name) for two in owners] for one in owners])
    error = np.where(free, theirs - ours, np.nan)
    # A correlation that exists in the data and not in the synthetic table (a constant column) is wholly lost.
    error = np.where(free & np.isnan(theirs) & ~np.isnan(ours), -ours, error)
    upper = np.triu(np.ones_like(free), 1) & ~np.isnan(error)
    rows, columns = np.nonzero(upper)
    order = np.argsort(-np.abs(error[rows, columns]), kind="stable")[:n_worst]
    worst = tuple(_pair(names, real, synthetic, ours, theirs, error, int(rows[k]), int(columns[k])) for k in order)
    sizes = np.abs(error[rows, columns])
    outcome = np.array([owner.role != "covariate" for owner in owners])
    with_outcome = outcome[rows] | outcome[columns]
    by_role = {
        name: float(sizes[which].max())
        for name, which in (("covariates", ~with_outcome), ("with an outcome, the arm or another column", with_outcome))
        if which.any()
    }
    return Dependence(
        features=names,
        real=ours,
        synthetic=theirs,
        compared=free,
        worst=worst,
        mean_error=float(sizes.mean()) if len(sizes) else 0.0,
        n_pairs=len(sizes),
        by_role=by_role,
        rules=tuple(_rule_kept(pair.by_name[column], pair.by_name[source]) for column, source in pair.rules.items()),
    )


def _features(column: ComparedColumn) -> list[tuple[str, ComparedColumn, Array, Array]]:
    """(name, column, real, synthetic) of the numbers that stand for a column."""
    if len(column.levels) <= 2:
        return [(column.name, column, column.real, column.synthetic)]
    found = []
    for place, level in enumerate(column.levels):
        ours, theirs = (np.where(np.isnan(side), np.nan, (side == place).astype(np.float64)) for side in (column.real, column.synthetic))
        found.append((f"{column.name} = {level}", column, ours, theirs))
    return found


def pairwise_correlation(x: Array) -> Array:
    """Pearson correlations `[feature, feature]` of the columns of x `[patient, feature]`, each over the patients with both known.

    NaN where fewer than three patients have both, or one of the two does not vary among them.
    """
    known = ~np.isnan(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = known.sum(0)
        mean = np.where(known, x, 0.0).sum(0) / count
        centred = np.where(known, x - mean, 0.0)
        spread = np.sqrt((centred**2).sum(0) / count)
        centred /= np.where(spread > 0, spread, 1.0)
        there = known.astype(np.float64)
        n = there.T @ there
        sums = centred.T @ there  # of the row's feature, over the patients with both
        squares = (centred**2).T @ there
        covariance = centred.T @ centred / n - sums * sums.T / n**2
        variance = squares / n - (sums / n) ** 2
        variance = np.where(variance > 1e-12, variance, np.nan)
        correlation = covariance / np.sqrt(variance * variance.T)
    correlation[n < 3] = np.nan
    return np.clip(correlation, -1.0, 1.0)


def correlation_se(x: Array, y: Array) -> float:
    """The standard error of a Pearson correlation without assuming normality, by its influence function.

    u_i = z_xi z_yi − r (z_xi² + z_yi²) / 2;  se = SD(u) / √n.

    **Source:** Devlin, Gnanadesikan & Kettenring 1975, Biometrika 62:531, doi 10.1093/biomet/62.3.531.
    """
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both], y[both]
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return float("nan")
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    influence = x * y - float((x * y).mean()) * (x**2 + y**2) / 2
    return float(influence.std() / np.sqrt(len(x)))


def _pair(names: tuple[str, ...], real: Array, synthetic: Array, ours: Array, theirs: Array, error: Array, i: int, j: int) -> Pair:
    se = np.hypot(correlation_se(real[:, i], real[:, j]), np.nan_to_num(correlation_se(synthetic[:, i], synthetic[:, j])))
    n, m = (int((~np.isnan(side[:, [i, j]]).any(1)).sum()) for side in (real, synthetic))
    return Pair(names[i], names[j], float(ours[i, j]), float(np.nan_to_num(theirs[i, j])), Measured(float(error[i, j]), float(se), n, m))


def _rule_kept(column: ComparedColumn, source: ComparedColumn) -> RuleKept:
    """Exceptions against the function of the real data: each level's range of the source, or a line where there are many values."""
    if not column.is_stepped:
        return _copy_kept(column, source)
    values = np.unique(column.real[~np.isnan(column.real)])
    both = ~np.isnan(column.real) & ~np.isnan(source.real)
    middles = [float(np.median(source.real[both & (column.real == value)])) for value in values]
    values = values[np.argsort(middles, kind="stable")]
    cuts = [_cut(source.real[both & (column.real == low)], source.real[both & (column.real == high)]) for low, high in pairwise(values.tolist())]

    def exceptions(target: Array, x: Array) -> float:
        there = ~np.isnan(target) & ~np.isnan(x)
        if not there.any():
            return 0.0
        return float((values[np.searchsorted(np.asarray(cuts), x[there])] != target[there]).mean())

    return RuleKept(column.name, source.name, exceptions(column.real, source.real), exceptions(column.synthetic, source.synthetic))


def _copy_kept(column: ComparedColumn, source: ComparedColumn) -> RuleKept:
    """Exceptions to the real data's line from one number to another.

    What both are rounded by is no exception: at most twice the median where one is rounded, 3.4 medians where both are alike.
    """

    def off(side: str, line: tuple[float, float]) -> Array:
        x, y = getattr(source, side), getattr(column, side)
        there = ~np.isnan(x) & ~np.isnan(y)
        return np.asarray(np.abs(y[there] - line[0] - line[1] * x[there]))

    both = ~np.isnan(column.real) & ~np.isnan(source.real)
    x, y = source.real[both], column.real[both]
    fits = np.ones(len(x), dtype=bool)
    for _ in range(3):  # exceptions would pull the line
        slope, intercept = np.polyfit(x[fits], y[fits], 1)
        error = np.abs(y - intercept - slope * x)
        fits = error <= np.quantile(error, 0.99)
    room = 4.0 * float(np.median(error)) + 1e-9 * float(np.abs(y).max())
    real, synthetic = (off(side, (intercept, slope)) for side in ("real", "synthetic"))
    return RuleKept(column.name, source.name, float((real > room).mean()), float((synthetic > room).mean()) if len(synthetic) else 0.0)


def _cut(below: Array, above: Array) -> float:
    """The point that parts two groups with the fewest exceptions."""
    points = np.unique(np.concatenate((below, above)))
    wrong = (len(below) - np.searchsorted(np.sort(below), points, side="right")) + np.searchsorted(np.sort(above), points, side="right")
    place = int(np.argmin(wrong))
    return float(points[place] if place + 1 == len(points) else (points[place] + points[place + 1]) / 2)
