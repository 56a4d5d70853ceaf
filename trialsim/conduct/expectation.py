"""What a time-to-event trial is expected to have seen by a calendar time: patients, events, and when the d-th event comes.

A patient of arm a who entered at e is under observation at patient time s with probability R_a(s) = E[S_a(s) G_a(s)] and
has had an observed event with probability Q_a(s) = E[∫ G_a dF_a], where S = 1 − F is free of the event, G not lost to
follow-up, and E is over the baseline of the patients. By calendar time T the trial expects

    events_a(T) = share_a · Σ_i Q_a(T − e_i)

over its entry times (those of an average trial where accrual is random). Within a step of the grid both hazards are taken
as constant, so exponential laws are exact. The time at which the *expected* number of events is d is close to, but not
quite, the expected time of the d-th event.

**Source**: Lachin & Foulkes 1986, doi 10.2307/2531201; Zhao, Zhang & Yang 2024 (gsDesign2: expected_event, expected_time).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from trialsim.records import Cohort
from trialsim.twins import TwinModel

Array = NDArray[np.float64]
Curve = Callable[[int, Array], Array]
"""(arm, times `[time]`) -> a probability per patient and time, `[patient time]`, or `[1 time]` where it is the same for all."""

LONGEST = 256 * 365.25  # days a patient is followed at most
POINTS, FEW_POINTS, FEW_PATIENTS = 3000, 800, 64  # of the grid of times, for few patients and for more


@dataclass(frozen=True, slots=True)
class ExpectedCourse:
    """The expected course of one time-to-event endpoint.

    `entry_time` `[patient]` in days. `share` `[arm]` of the randomised, 1 in all. `times` `[time]` in days since
    randomisation, from 0. `incidence` (Q) and `at_risk` (R) `[arm stratum time]`. `weight` `[stratum]`, 1 in all.
    """

    entry_time: Array
    share: Array
    times: Array
    incidence: Array
    at_risk: Array
    weight: Array

    @property
    def n(self) -> int:
        """Planned patients."""
        return len(self.entry_time)

    def enrolled(self, calendar: float) -> int:
        """Patients randomised by a calendar time."""
        return int(np.searchsorted(self.entry_time, calendar, side="right"))

    def entry_of(self, n: int) -> float:
        """The calendar time of the n-th randomisation."""
        return float(self.entry_time[n - 1]) if 0 < n <= self.n else math.inf

    def events_by_arm(self, calendar: float) -> Array:
        """Expected events `[arm]` by a calendar time."""
        followed = calendar - self.entry_time[: self.enrolled(calendar)]
        return np.array([share * np.interp(followed, self.times, self.weight @ curve).sum() for share, curve in zip(self.share, self.incidence, strict=True)])

    def events(self, calendar: float) -> float:
        """Expected events of all arms by a calendar time."""
        return float(self.events_by_arm(calendar).sum())

    def total_events(self) -> float:
        """Expected events of all arms if every patient is followed until event or loss to follow-up."""
        return float(self.n * np.sum(self.share * (self.incidence[:, :, -1] @ self.weight)))

    def time_of_events(self, events: float) -> float:
        """The calendar time at which the expected number of events is `events`; infinity where it never is."""
        if events <= 0.0:
            return 0.0
        if events > self.total_events():
            return math.inf
        low, high = 0.0, float(self.entry_time[-1]) + 30.0
        while self.events(high) < events:
            low, high = high, 2.0 * high
            if high > 4.0 * LONGEST:
                return math.inf
        return float(brentq(lambda calendar: self.events(calendar) - events, low, high, xtol=1e-7))

    def time_of_exhaustion(self) -> float:
        """The calendar time at which fewer than half a patient is expected to be at risk still (at most LONGEST after the last entry)."""
        pooled = np.einsum("a,ast,s->t", self.share, self.at_risk, self.weight)

        def excess(calendar: float) -> float:
            return float(np.interp(calendar - self.entry_time, self.times, pooled).sum()) - 0.5

        low, high = float(self.entry_time[-1]), float(self.entry_time[-1] + self.times[-1])
        return high if excess(high) >= 0.0 else low if excess(low) <= 0.0 else float(brentq(excess, low, high, xtol=1e-6))

    def under_observation(self, calendar: float) -> Array:
        """Patients whose follow-up by `calendar` would reach each patient time, event or not, `[time]`."""
        return np.searchsorted(self.entry_time, calendar - self.times, side="right").astype(np.float64)


def expected_course(
    *, entry_time: Array, share: Sequence[float], survival: Curve, retention: Curve, stratum: NDArray[np.int64] | None = None
) -> ExpectedCourse:
    """The expected course from the laws of event and dropout.

    `survival(arm, times)` is the probability of no event by each time given the baseline, `retention(arm, times)` that of
    not being lost to follow-up. `stratum` `[patient]` counts from 0; without it there is one. `share` needs no scaling.
    """
    arms = range(len(share))
    n_patients, longest = _extent(lambda t: [survival(arm, t) * retention(arm, t) for arm in arms])
    times = _grid(longest, POINTS if n_patients <= FEW_PATIENTS else FEW_POINTS)
    n_strata = 1 if stratum is None else int(stratum.max()) + 1
    incidence, at_risk = np.zeros((len(share), n_strata, len(times))), np.zeros((len(share), n_strata, len(times)))
    for arm in arms:
        hazard = -np.log(np.maximum(survival(arm, times), 1e-300))
        loss = -np.log(np.maximum(retention(arm, times), 1e-300))
        observed = np.exp(-(hazard + loss))
        step, all_steps = np.diff(hazard, axis=-1), np.diff(hazard, axis=-1) + np.diff(loss, axis=-1)
        of_event = np.divide(step, all_steps, out=np.zeros_like(all_steps), where=all_steps > 0.0)
        seen = np.concatenate([np.zeros((len(observed), 1)), np.cumsum(of_event * -np.diff(observed, axis=-1), axis=-1)], axis=-1)
        for level in range(n_strata):
            member = slice(None) if stratum is None or len(seen) == 1 else stratum == level
            incidence[arm, level], at_risk[arm, level] = seen[member].mean(axis=0), observed[member].mean(axis=0)
    weight = np.ones(1) if stratum is None else np.bincount(stratum, minlength=n_strata) / len(stratum)
    proportions = np.asarray(share, dtype=np.float64) / float(np.sum(share))
    return ExpectedCourse(np.asarray(entry_time, dtype=np.float64), proportions, times, incidence, at_risk, weight)


def expected_course_of_twins(
    *,
    twins: TwinModel,
    outcomes: Sequence[str],
    entry_time: Array,
    share: Sequence[float],
    cohort: Cohort | None = None,
    stratum: NDArray[np.int64] | None = None,
) -> ExpectedCourse:
    """The expected course of the first of `outcomes` under a scenario's truth.

    `cohort` `[1 patient]` is a sample of eligible patients to average over, None where the population has no covariates.
    """

    def survival(arm: int, times: Array) -> Array:
        t = torch.from_numpy(times)[:, None, None]
        return _patients_by_time(twins.hazards_of_first(outcomes, arm, t, cohort)[0].neg().exp())

    def retention(arm: int, times: Array) -> Array:
        t = torch.from_numpy(times)[:, None, None]
        death = twins.hazards_of_first(outcomes, arm, t, cohort)[1]
        stays = twins.dropout_survival(arm, t, cohort)
        return _patients_by_time(stays * death.neg().exp() if isinstance(death, torch.Tensor) else stays)

    return expected_course(entry_time=entry_time, share=share, survival=survival, retention=retention, stratum=stratum)


def _patients_by_time(probability: torch.Tensor) -> Array:
    """`[time 1 patient]` -> `[patient time]`."""
    return np.ascontiguousarray(probability.numpy()[:, 0, :].T)


def _extent(observed: Callable[[Array], list[Array]]) -> tuple[int, float]:
    """The number of patients averaged over, and a time by which nobody is left (at most LONGEST)."""
    longest = 365.25
    while True:
        left = observed(np.array([longest]))
        if longest >= LONGEST or max(float(arm.mean()) for arm in left) <= 1e-9:
            return max(len(arm) for arm in left), longest
        longest *= 2.0


def _grid(longest: float, points: int) -> Array:
    """Times from 0 to `longest`, close together at first and wider later."""
    rise = 6.0
    return np.asarray(longest * np.sinh(rise * np.linspace(0.0, 1.0, points)) / math.sinh(rise))
