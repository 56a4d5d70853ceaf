"""What a design promises before anything is simulated: the rows of `trialsim.design/1`.

A look row is a bound and what it means: the nominal p-value (over `sides`), the cumulative alpha, and for event times the
hazard ratio at the bound, exp(∓ z / √(d r (1 − r))) with d events and a share r in the test arm (Schoenfeld 1981, doi
10.1093/biomet/68.1.316). A scenario row is the chance of crossing the bounds when the statistic has the mean that the
scenario implies, look by look. What cannot be computed is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from trialsim.design import Bounds, crossing_probabilities

SCHEMA = "trialsim.design/1"
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlannedLooks:
    """The looks of one analysis under one design.

    `targets` `[look]` are events or patients, `look_time` `[look]` in days; None where they are not known. `test_share` is the test arm's share of the compared patients, None where that is not declared.
    `favours` is +1 where a larger estimate is better. `arm` is the test arm where the analysis has several, and `compared_share` then
    how much of the targets is of the two compared arms.
    """

    design: str
    analysis: str
    bounds: Bounds
    is_event: bool
    targets: Sequence[float | None] | None = None
    look_time: Sequence[float | None] | None = None
    test_share: float | None = None
    favours: int = -1
    arm: str | None = None
    compared_share: float = 1.0

    def rows(self) -> list[dict[str, Any]]:
        """One row per look."""
        return [self._row(look) for look in range(len(self.bounds.information))]

    def _row(self, look: int) -> dict[str, Any]:
        z = float(self.bounds.efficacy_z[look])
        target = None if self.targets is None else _half_up(self.targets[look])
        return {
            "design": self.design,
            "analysis": self.analysis,
            "arm": self.arm,
            "look": look + 1,
            "information_fraction": number(self.bounds.information[look]),
            ("n_events" if self.is_event else "n"): target,
            "look_time": None if self.look_time is None else number(self.look_time[look]),
            "efficacy_z": number(z),
            "efficacy_p": number(self.bounds.sides * float(ndtr(-z))),
            "futility_z": number(self.bounds.futility_z[look]),
            "cumulative_alpha": number(self.bounds.cumulative_alpha[look]),
            "hr_at_boundary": self._hazard_ratio(z, target),
        }

    def _hazard_ratio(self, z: float, events: int | None) -> float | None:
        if not self.is_event or not events or self.test_share is None or not math.isfinite(z):
            return None
        compared = events * self.compared_share
        return number(math.exp(self.favours * z / math.sqrt(compared * self.test_share * (1.0 - self.test_share))))


@dataclass(frozen=True, slots=True)
class ScenarioLooks:
    """What one scenario implies at the looks of an analysis, `[look]` each.

    `mean_z` of the statistic and its `information` (only ratios matter); `look_time` in days, `enrolled` patients and
    expected `events` (None where the trial counts none). `method` and `source` say how `mean_z` was found.
    """

    mean_z: Sequence[float] | Array
    information: Sequence[float] | Array
    look_time: Sequence[float] | Array
    enrolled: Sequence[float] | Array
    events: Sequence[float] | Array | None
    method: str
    source: str


def scenario_row(
    *,
    design: str,
    scenario: str,
    role: str,
    analysis: str,
    bounds: Bounds,
    looks: ScenarioLooks,
    n_looks: int | None = None,
    alone: bool = True,
    arm: str | None = None,
) -> dict[str, Any]:
    """The operating characteristics of a design under a scenario. `alone`: no other analysis keeps the trial going.

    `cumulative_power` and `stop_futility` have an entry per look (of `n_looks` planned, where the scenario ends the trial
    with fewer); two-sided power counts both directions. The statistic has the correlations of the scenario's information.
    """
    lower = -bounds.efficacy_z if bounds.sides == 2 else bounds.futility_z
    information = np.asarray(looks.information, dtype=np.float64)
    crossing = crossing_probabilities(information=information / information[-1], upper=bounds.efficacy_z, lower=lower, mean_z=looks.mean_z)
    rejected = np.cumsum(crossing.upper + (crossing.lower if bounds.sides == 2 else 0.0))
    futile = np.zeros_like(crossing.lower) if bounds.sides == 2 else np.append(crossing.lower[:-1], 0.0)
    stop = crossing.stop
    missing = 0 if n_looks is None else n_looks - len(rejected)

    def expected(values: Sequence[float] | Array | None) -> float | None:
        if values is None or not alone:
            return None
        reached = np.asarray(values, dtype=np.float64)
        return number(float(stop[stop > 0.0] @ reached[stop > 0.0]))

    return {
        "design": design,
        "scenario": scenario,
        "role": role,
        "analysis": analysis,
        **({} if arm is None else {"arm": arm}),
        "cumulative_power": [number(value) for value in np.append(rejected, np.full(missing, rejected[-1]))],
        "stop_futility": [number(value) for value in np.append(futile, np.zeros(missing))],
        "expected_n": expected(looks.enrolled),
        "expected_events": expected(looks.events),
        "expected_duration": expected(looks.look_time),
        "method": looks.method,
        "source": looks.source,
    }


def number(value: float | None) -> float | None:
    """A JSON number; None for what is not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def _half_up(value: float | None) -> int | None:
    return math.floor(value + 0.5) if value is not None and math.isfinite(value) else None
