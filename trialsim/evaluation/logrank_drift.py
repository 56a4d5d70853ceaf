"""The expected log-rank statistic under any hazards, proportional or not.

With Y_a(s) patients of arm a expected at risk at patient time s by a calendar time and dE_a(s) events expected there, and
p = Y_1 / (Y_0 + Y_1), stratum by stratum,

    U = Σ ∫ (dE_1 − p (dE_0 + dE_1)),   V = Σ ∫ p (1 − p) (dE_0 + dE_1),   E[Z] ≈ −U / √V

(positive where the test arm has fewer events). V is the information, and looks have the correlation √(V_j / V_k).

**Source**: Schoenfeld 1981, doi 10.1093/biomet/68.1.316; Yung & Liu 2020, doi 10.1111/biom.13196. The average hazard ratio
is that of Kalbfleisch & Prentice 1981, doi 10.1093/biomet/68.1.105, weighted by expected events as in gsDesign2.

Not handled: weights other than 1; the variance of Z is taken as 1 under the alternative too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.expectation import ExpectedCourse

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogrankDrift:
    """Per look, `[look]`: the mean of z (positive favours the test arm), its information V, and the average hazard ratio."""

    mean_z: Array
    information: Array
    average_hazard_ratio: Array


def logrank_drift(course: ExpectedCourse, *, test: int, reference: int, calendar: Sequence[float]) -> LogrankDrift:
    """The drift of the comparison of two arms at looks made at these calendar times (days)."""
    rows = [_at(course, test, reference, time) for time in calendar]
    mean_z, information, ratio = (np.array(column) for column in zip(*rows, strict=True))
    return LogrankDrift(mean_z, information, ratio)


def _at(course: ExpectedCourse, test: int, reference: int, calendar: float) -> tuple[float, float, float]:
    followed = course.under_observation(calendar)
    between = 0.5 * (followed[1:] + followed[:-1])
    arms = [reference, test]
    weight = course.share[arms][:, None, None] * course.weight[:, None]
    at_risk = weight * 0.5 * (course.at_risk[arms, :, 1:] + course.at_risk[arms, :, :-1]) * between
    events = weight * np.diff(course.incidence[arms], axis=-1) * between
    at_risk_by_look, pooled = at_risk.sum(axis=0), events.sum(axis=0)
    p = np.divide(at_risk[1], at_risk_by_look, out=np.zeros_like(pooled), where=at_risk_by_look > 0.0)
    score, variance = float((events[1] - p * pooled).sum()), float((p * (1.0 - p) * pooled).sum())
    rates = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0.0)
    known = (rates > 0.0).all(axis=0)
    log_ratio = np.zeros_like(pooled)
    log_ratio[known] = np.log(rates[1][known] / rates[0][known])
    total = float(pooled[known].sum())
    average = math.exp(float((log_ratio * pooled)[known].sum()) / total) if total > 0.0 else math.nan
    return (-score / math.sqrt(variance) if variance > 0.0 else 0.0), variance, average
