"""Whom the patients represent: standardised differences from a target population, enrolment goals, and reweighting to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trialsim.cohort.calibration.entropy_balancing import balance
from trialsim.cohort.fairness.target import Target
from trialsim.cohort.fidelity.measured import finite
from trialsim.cohort.fidelity.side_by_side import Array, ComparedColumn, SideBySide

Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Difference:
    """A standardised difference from the target, of the real and of the synthetic patients.

    Of a number (mean − target mean) / target SD (the real SD where none is published); of a level (p − q) / √((p(1−p) + q(1−q)) / 2), where
    p is the patients' share.
    """

    column: str
    level: str | None
    target: float
    real: float
    synthetic: float
    real_smd: float
    synthetic_smd: float
    n_real: int

    def as_json(self) -> dict[str, Any]:
        shown = ("target", "real", "synthetic", "real_smd", "synthetic_smd")
        return {"column": self.column, "level": self.level, **{name: finite(getattr(self, name)) for name in shown}, "n_real": self.n_real}


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of enrolment against the real patients: their share and what they are short of it, with a 95 % interval (Wilson 1927)."""

    column: str
    level: str
    goal: float
    actual: float
    difference: float
    ci_low: float
    ci_high: float
    synthetic: float
    n: int

    @property
    def met(self) -> bool | None:
        """True: the goal is reached or chance alone can explain the shortfall; False: it cannot."""
        return self.ci_high >= 0

    def as_json(self) -> dict[str, Any]:
        names = ("column", "level", "goal", "actual", "difference", "ci_low", "ci_high", "synthetic", "n", "met")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Reweighting:
    """What is left when patients are weighted to the target's means, SDs and shares: the effective sample size of `n` complete patients.

    `reached` false: no weights meet the target; `columns` then name what is farthest from being met.
    """

    of: str
    n: int
    ess: float | None
    reached: bool
    columns: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "n": self.n,
            "ess": self.ess,
            "ess_share": None if self.ess is None else self.ess / self.n,
            "reached": self.reached,
            "columns": list(self.columns),
        }


@dataclass(frozen=True)
class Representativeness:
    """Real and synthetic patients against one target."""

    target: str
    differences: tuple[Difference, ...]
    goals: tuple[Goal, ...]
    reweighting: tuple[Reweighting, ...]

    @property
    def largest(self) -> Difference | None:
        """The largest standardised difference of the synthetic patients."""
        return max(self.differences, key=lambda each: abs(np.nan_to_num(each.synthetic_smd)), default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "standardised_differences": [each.as_json() for each in self.differences],
            "enrolment_goals": [goal.as_json() for goal in self.goals],
            "reweighting": [each.as_json() for each in self.reweighting],
        }


def representativeness(pair: SideBySide, target: Target) -> Representativeness:
    """Compares both tables with the target; missing cells are left out of means and shares, incomplete patients out of the weights."""
    differences = [_number(pair.by_name[name], each.mean, each.sd) for name, each in target.numbers.items()]
    for name, shares in target.shares.items():
        differences += [_share(pair.by_name[name], level, share) for level, share in shares.items()]
    goals = [_goal(pair.by_name[name], level, goal) for name, goals in target.goals.items() for level, goal in goals.items()]
    return Representativeness(
        target=target.name,
        differences=tuple(differences),
        goals=tuple(goals),
        reweighting=tuple(_reweighted(pair, target, side) for side in ("real", "synthetic")),
    )


def _number(column: ComparedColumn, mean: float, sd: float | None) -> Difference:
    real, synthetic = (side[~np.isnan(side)] for side in (column.real, column.synthetic))
    ours, theirs = _mean(real), _mean(synthetic)
    spread = sd or (float(real.std(ddof=1)) if len(real) > 1 else 0.0) or float("nan")
    return Difference(column.name, None, mean, ours, theirs, (ours - mean) / spread, (theirs - mean) / spread, len(real))


def _share(column: ComparedColumn, level: str, target: float) -> Difference:
    real, synthetic = (_is_level(column, side, level) for side in (column.real, column.synthetic))
    ours, theirs = _mean(real), _mean(synthetic)

    def smd(share: float) -> float:
        variance = (share * (1 - share) + target * (1 - target)) / 2
        return (share - target) / np.sqrt(variance) if variance > 0 else (0.0 if share == target else float("inf"))

    return Difference(column.name, level, target, ours, theirs, float(smd(ours)), float(smd(theirs)), len(real))


def _goal(column: ComparedColumn, level: str, goal: float) -> Goal:
    real = _is_level(column, column.real, level)
    low, high = wilson(float(real.sum()), len(real))
    actual = _mean(real)
    return Goal(column.name, level, goal, actual, actual - goal, low - goal, high - goal, _mean(_is_level(column, column.synthetic, level)), len(real))


def wilson(events: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (95 %); 0 to 1 without patients.

    **Source:** Wilson 1927, J Am Stat Assoc 22:209, doi 10.1080/01621459.1927.10502953.
    """
    if n == 0:
        return 0.0, 1.0
    p, weight = events / n, 1 + Z**2 / n
    middle, half = (p + Z**2 / (2 * n)) / weight, Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / weight
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _is_level(column: ComparedColumn, side: Array, level: str) -> Array:
    """1 at the level and 0 at others, without missing cells."""
    known = side[~np.isnan(side)]
    wanted = float(column.levels.index(level)) if column.levels else float(level)
    return (known == wanted).astype(np.float64)


def _mean(x: Array) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _reweighted(pair: SideBySide, target: Target, side: str) -> Reweighting:
    """Means, second moments where an SD is published, and shares (but for the last level where all are given)."""
    features: list[tuple[str, Array, float]] = []
    for name, each in target.numbers.items():
        x = getattr(pair.by_name[name], side)
        features.append((name, x, each.mean))
        if each.sd is not None:
            features.append((name, x**2, each.mean**2 + each.sd**2))
    for name, shares in target.shares.items():
        column, x = pair.by_name[name], getattr(pair.by_name[name], side)
        levels = list(shares.items())
        for level, share in levels[:-1] if abs(sum(shares.values()) - 1) < 1e-6 and len(levels) > 1 else levels:
            wanted = float(column.levels.index(level)) if column.levels else float(level)
            features.append((name, np.where(np.isnan(x), np.nan, (x == wanted).astype(np.float64)), share))
    if not features:
        return Reweighting(side, 0, None, False, ())
    x = np.stack([values for _, values, _ in features], axis=1)
    complete = ~np.isnan(x).any(axis=1)
    n = int(complete.sum())
    if n == 0:
        return Reweighting(side, 0, None, False, tuple(dict.fromkeys(name for name, _, _ in features)))
    found = balance(x[complete], np.array([value for _, _, value in features]))
    missed = (
        () if found.converged else tuple(dict.fromkeys(features[place][0] for place in np.argsort(-np.abs(found.miss))[:3] if abs(found.miss[place]) > 1e-6))
    )
    return Reweighting(side, n, found.ess if found.converged else None, found.converged, missed)
