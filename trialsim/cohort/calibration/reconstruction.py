"""Patients behind a published survival curve: event and censoring times that give the curve and the numbers at risk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.calibration.survival_curve import SurvivalCurve

Array = NDArray[np.float64]


def reconstruct(curve: SurvivalCurve) -> tuple[Array, NDArray[np.bool_]]:
    """(time in days `[patient]`, event `[patient]`) of as many patients as are at risk at the start.

    Between two numbers at risk the censored are spread evenly over the interval, and their number is found by iteration
    so that the patients left at its end are those printed. The number of events at a point of the curve is what takes
    the Kaplan–Meier estimate there, rounded to whole patients; it carries the rounding along, so that errors do not add
    up. After the last number at risk there is no more to be known: patients still at risk at the last point are censored
    there.

    Needs numbers at risk, the first at time 0 (ValueError). Not handled: the total number of events, which some papers print.

    **Source:** Guyot, Ades, Ouwens & Welton 2012, BMC Med Res Methodol 12:9, doi 10.1186/1471-2288-12-9.
    """
    if len(curve.at_risk) == 0 or curve.at_risk_time[0] > 0:
        raise ValueError("the numbers at risk must begin at time 0")
    time, survival = _steps(curve)
    n, estimate = int(curve.at_risk[0]), 1.0
    times: list[Array] = []
    events: list[NDArray[np.bool_]] = []
    marks = [*curve.at_risk_time[1:].tolist(), np.inf]
    start = 0.0
    for mark, printed in zip(marks, [*curve.at_risk[1:].tolist(), None], strict=True):
        inside = (time > start if start > 0 else time > 0) & (time <= mark if np.isinf(mark) else time < mark)
        if start > 0:
            inside |= time == start
        at, target = time[inside], survival[inside]
        end = curve.time[-1] if np.isinf(mark) else mark
        died, censored, left, estimate = _interval(n, estimate, at, target, start, max(end, start), printed)
        times += [np.repeat(at, died), censored]
        events += [np.ones(int(died.sum()), dtype=bool), np.zeros(len(censored), dtype=bool)]
        n, start = left, mark
    times.append(np.full(n, max(curve.time[-1], start if np.isfinite(start) else 0.0)))
    events.append(np.zeros(n, dtype=bool))
    found, kind = np.concatenate(times), np.concatenate(events)
    order = np.lexsort((~kind, found))
    return found[order], kind[order]


def _steps(curve: SurvivalCurve) -> tuple[Array, Array]:
    """The times at which the curve falls, and where it falls to."""
    time, last = np.unique(curve.time[::-1], return_index=True)
    survival = curve.survival[::-1][last]
    falls = np.flatnonzero(np.diff(survival, prepend=1.0) < 0)
    return time[falls], survival[falls]


def _interval(
    n: int, estimate: float, at: Array, target: Array, start: float, end: float, printed: float | None
) -> tuple[NDArray[np.int64], Array, int, float]:
    """One interval: (deaths at each step, censoring times, patients left, the Kaplan–Meier estimate at its end)."""

    def with_censored(count: int) -> tuple[NDArray[np.int64], Array, int, float]:
        censored = start + (end - start) * (np.arange(count) + 0.5) / max(count, 1)
        gone = np.searchsorted(censored, at)  # censored before each step
        died = np.zeros(len(at), dtype=np.int64)
        km, total = estimate, 0
        for step, aim in enumerate(target):
            at_risk = n - total - int(gone[step])
            if at_risk <= 0:
                break
            died[step] = min(max(round(at_risk * (1.0 - aim / km)), 0), at_risk) if km > 0 else 0
            km *= 1.0 - died[step] / at_risk
            total += int(died[step])
        return died, censored, n - total - count, km

    if printed is None:
        return with_censored(0)
    low, high = 0, n  # the patients left fall as the censored grow
    while low < high:
        middle = (low + high) // 2
        if with_censored(middle)[2] > printed:
            low = middle + 1
        else:
            high = middle
    return with_censored(low)


def standard_error(curve: SurvivalCurve) -> Array:
    """Greenwood's standard error of the survival `[point]`, from the reconstructed patients."""
    time, event = reconstruct(curve)
    when, first = np.unique(time, return_index=True)
    at_risk = len(time) - first
    died = np.add.reduceat(event.astype(np.float64), first)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(at_risk > died, died / (at_risk * (at_risk - died)), 0.0)
    place = np.searchsorted(when, curve.time, side="right")
    return curve.survival * np.sqrt(np.concatenate(([0.0], np.cumsum(terms)))[place])
