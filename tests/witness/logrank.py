"""Weighted log-rank tests written from the textbook formula, one data set at a time, with loops: no code in common with the kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def pooled_survival(time: np.ndarray, event: np.ndarray) -> Callable[[float, bool], float]:
    """S(t) of all patients by the product-limit formula; `left` gives S(t-)."""

    def survival(t: float, left: bool = False) -> float:
        product = 1.0
        for u in sorted(set(time[event])):
            if u < t or (u == t and not left):
                product *= 1.0 - np.sum((time == u) & event) / np.sum(time >= u)
        return product

    return survival


def hypergeometric_moments(time: np.ndarray, event: np.ndarray, group: np.ndarray, t: float, score: np.ndarray) -> tuple[float, float, float]:
    """Observed, expected and variance of the summed scores of those who have the event at t, drawn without replacement from those at risk.

    The variance is that of a sum of d draws without replacement from the finite population at risk.
    """
    risk = time >= t
    population = score[group[risk]]
    dead = risk & event & (time == t)
    d, n = int(dead.sum()), int(risk.sum())
    spread = population.var(ddof=1) if n > 1 else 0.0
    return score[group[dead]].sum(), d * population.mean(), d * (1.0 - d / n) * spread


def weighted_logrank(
    time: np.ndarray,
    event: np.ndarray,
    group: np.ndarray,
    weights: list[Callable[[float, Callable[[float, bool], float]], float]],
    stratum: np.ndarray | None = None,
    scores: tuple[float, ...] = (0.0, 1.0),
) -> tuple[np.ndarray, np.ndarray]:
    """U of every weight w(t, S) and the covariance matrix, summed over strata."""
    stratum = np.zeros(len(time), int) if stratum is None else stratum
    u, v = np.zeros(len(weights)), np.zeros((len(weights), len(weights)))
    for level in np.unique(stratum):
        mine = stratum == level
        own_time, own_event, own_group = time[mine], event[mine], group[mine]
        survival = pooled_survival(own_time, own_event)
        for t in sorted(set(own_time[own_event])):
            observed, expected, variance = hypergeometric_moments(own_time, own_event, own_group, t, np.array(scores))
            w = np.array([weight(t, survival) for weight in weights])
            u += w * (observed - expected)
            v += np.outer(w, w) * variance
    return u, v
