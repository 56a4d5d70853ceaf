"""The Kaplan–Meier estimate of real data, with pointwise confidence limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """Survival at 0 and at every distinct event time, `[time]`, constant in between.

    `low` and `high` are pointwise limits by Greenwood's variance on the log(−log) scale; equal to the estimate where it
    is 0 or 1. `last` is the longest follow-up.
    """

    time: Vector
    survival: Vector
    low: Vector
    high: Vector
    last: float


def kaplan_meier(time: Vector, event: NDArray[np.bool_], *, level: float = 0.95) -> KaplanMeier:
    """The product-limit estimate; a patient censored at the time of an event is at risk there.

    `time` `[patient]` in any unit, `event` `[patient]`; at least one patient, no missing values.

    **Source:** Kaplan & Meier 1958, doi 10.1080/01621459.1958.10501452; limits as in Kalbfleisch & Prentice 2002, section 1.4.
    """
    moments, deaths = np.unique(time[event], return_counts=True)
    at_risk = (time[None, :] >= moments[:, None]).sum(axis=1).astype(np.float64)
    survival = np.cumprod(1.0 - deaths / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(deaths / (at_risk * (at_risk - deaths)))
        spread = ndtri(0.5 + level / 2) * np.sqrt(variance) / np.log(survival)
        low, high = survival ** np.exp(-spread), survival ** np.exp(spread)
    inside = (survival > 0) & (survival < 1)
    low, high = np.where(inside, low, survival), np.where(inside, high, survival)
    start = np.ones(1)
    return KaplanMeier(np.append(0.0, moments), np.append(start, survival), np.append(start, low), np.append(start, high), float(time.max()))
