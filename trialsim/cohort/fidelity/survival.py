"""Whether patients live as long as the real ones: Kaplan–Meier curves of both, arm by arm.

The distance is sup_t |Ŝ_real(t) − Ŝ_synthetic(t)| up to the time at which a tenth of the real patients of the arm (at least 10) are
still under observation; beyond it the real curve is too uncertain to compare. `band` is the distance that chance alone
would not exceed with probability 0.95 if both tables came from the same law: the quantile of the supremum of

    Ŝ(t) |Σ_{events ≤ t} G_e / Y_e − Σ'_{events ≤ t} G'_e / Y'_e|,   G, G' independent standard normals,

whose two sums are over the real and over the synthetic events, Y being the numbers at risk. Censoring may differ between
the tables; Kaplan–Meier takes it to be independent of the event.

**Source:** Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; Lin, Wei & Ying 1993, Biometrika 80:557, doi
10.1093/biomet/80.3.557 (the resampling); Parzen, Wei & Ying 1997, Scand J Stat 24:309, doi 10.1111/1467-9469.t01-1-00065 (two samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trialsim.cohort.fidelity.measured import finite
from trialsim.cohort.fidelity.side_by_side import Array, Mask, SideBySide

DRAWS = 2000
FEWEST_AT_RISK = 10


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """Ŝ just after each distinct event time, with the numbers at risk there and the events."""

    time: Array
    survival: Array
    at_risk: Array
    events: Array
    n: int

    def at(self, t: Array | float) -> Array:
        """Ŝ(t), 1 before the first event."""
        return np.concatenate(([1.0], self.survival))[np.searchsorted(self.time, t, side="right")]

    def se(self, t: float) -> float:
        """Greenwood's standard error of Ŝ(t); NaN where everybody at risk had the event."""
        before = self.time <= t
        gap = self.at_risk[before] - self.events[before]
        if (gap <= 0).any():
            return float("nan")
        return float(self.at(t) * np.sqrt((self.events[before] / (self.at_risk[before] * gap)).sum()))


def survival_curve(time: Array, event: Mask) -> SurvivalCurve:
    """The product-limit estimate; those censored at the time of an event are at risk there. No missing values."""
    order = np.sort(time)
    moments, events = np.unique(time[event], return_counts=True)
    at_risk = (len(time) - np.searchsorted(order, moments, side="left")).astype(np.float64)
    survival: Array = np.cumprod(1.0 - events / at_risk, dtype=np.float64)
    return SurvivalCurve(moments, survival, at_risk, events.astype(np.float64), len(time))


@dataclass(frozen=True, slots=True)
class SurvivalDistance:
    """The largest vertical distance between the two curves of an outcome in one arm, at `time`, up to `until` (the data's unit)."""

    outcome: str
    arm: str
    distance: float
    time: float
    band: float
    until: float
    n_real: int
    n_synthetic: int
    real: SurvivalCurve
    synthetic: SurvivalCurve

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "arm": self.arm,
            "distance": finite(self.distance),
            "at": finite(self.time),
            "band": finite(self.band),
            "until": finite(self.until),
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
        }


def survival_distances(pair: SideBySide, *, seed: int) -> tuple[SurvivalDistance, ...]:
    """Every event outcome in every arm with patients on both sides; patients with a missing time or event are left out."""
    found = []
    for number, outcome in enumerate(pair.roles.events):
        for place, arm in enumerate(pair.arms):
            curves = []
            for (time, event), group in ((pair.follow_up(outcome, "real"), pair.real_arm), (pair.follow_up(outcome, "synthetic"), pair.synthetic_arm)):
                known = (group == place) & ~np.isnan(time)
                curves.append((time[known], event[known]))
            if all(len(time) for time, _ in curves):
                found.append(_distance(outcome, arm, curves[0], curves[1], np.random.default_rng([seed, number, place])))
    return tuple(found)


def _distance(outcome: str, arm: str, real: tuple[Array, Mask], synthetic: tuple[Array, Mask], rng: np.random.Generator) -> SurvivalDistance:
    ours, theirs = survival_curve(*real), survival_curve(*synthetic)
    longest = np.sort(real[0])[::-1]
    until = float(longest[min(len(longest), max(FEWEST_AT_RISK, len(longest) // 10)) - 1])
    points = np.unique(np.concatenate(([0.0], ours.time, theirs.time)))
    points = points[points <= until]
    gap = np.abs(ours.at(points) - theirs.at(points))
    worst = int(np.argmax(gap))
    band = _band(ours, theirs, until, rng)
    return SurvivalDistance(outcome, arm, float(gap[worst]), float(points[worst]), band, until, len(real[0]), len(synthetic[0]), ours, theirs)


def _band(ours: SurvivalCurve, theirs: SurvivalCurve, until: float, rng: np.random.Generator, *, n_points: int = 400) -> float:
    """The 0.95 quantile of the largest distance between two curves of one law, on a grid of the real curve's own steps."""
    grid = ours.time[ours.time <= until]
    if not len(grid):
        return 0.0
    if len(grid) > n_points:
        grid = grid[np.linspace(0, len(grid) - 1, n_points).round().astype(np.int64)]
    paths = np.zeros((DRAWS, len(grid)))
    for curve in (ours, theirs):
        # Σ G_e/Y_e over the events between two points of the grid is normal with variance Σ d/Y²: one draw per interval.
        variance = np.concatenate(([0.0], np.cumsum(curve.events / curve.at_risk**2)))[np.searchsorted(curve.time, grid, side="right")]
        paths += np.cumsum(rng.standard_normal((DRAWS, len(grid))) * np.sqrt(np.diff(variance, prepend=0.0)), axis=1)
    return float(np.quantile(np.abs(paths * ours.at(grid)).max(axis=1), 0.95))
