"""Modes and evidence of regressions whose derivatives are known, by Newton's method: what chooses the scale of a prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LogLikelihood = Callable[[Array], tuple[float, Array, Array]]
"""The log likelihood, its gradient and its information (negative Hessian, or its expectation) at a parameter `[parameter]`."""

_STEPS, _TOLERANCE = 60, 1e-9


@dataclass(frozen=True, slots=True)
class Mode:
    """The posterior mode, its precision matrix, and log p(y, θ̂) + ½ log |2π Σ|, Laplace's log evidence."""

    place: Array
    precision: Array
    log_evidence: float


def find_mode(log_likelihood: LogLikelihood, start: Array, *, centre: Array, sd: Array) -> Mode:
    """The mode under independent Normal(centre, sd) priors; a step that does not climb is halved.

    Stops when the Newton decrement is below 1e-9, or after 60 steps. A parameter of SD 0 stays at its centre.

    **Source:** Tierney & Kadane 1986, JASA 81:82, doi 10.1080/01621459.1986.10478240.
    """
    free = sd > 0
    weight = 1.0 / sd[free] ** 2

    def joint(theta: Array) -> tuple[float, Array, Array]:
        value, gradient, information = log_likelihood(theta)
        away = (theta - centre)[free]
        prior = -0.5 * float((weight * away**2).sum()) + 0.5 * float(np.log(weight / (2.0 * math.pi)).sum())
        return value + prior, gradient[free] - weight * away, information[np.ix_(free, free)] + np.diag(weight)

    theta = np.where(free, start, centre)
    height, slope, precision = joint(theta)
    for _ in range(_STEPS):
        step = np.linalg.solve(precision, slope)
        gain = float(slope @ step)
        size = 1.0
        while size > 1e-6:
            trial = theta.copy()
            trial[free] += size * step
            found = joint(trial)
            if np.isfinite(found[0]) and found[0] >= height - 1e-12 * abs(height):
                theta, (height, slope, precision) = trial, found
                break
            size /= 2
        if gain < _TOLERANCE or size <= 1e-6:
            break
    evidence = height + 0.5 * (free.sum() * math.log(2.0 * math.pi) - float(np.linalg.slogdet(precision)[1]))
    return Mode(place=theta, precision=precision, log_evidence=evidence)


def best_scale(log_likelihood: LogLikelihood, start: Array, *, centre: Array, sds: Sequence[Array]) -> tuple[Mode, int]:
    """The mode under the prior SDs of largest evidence, and their place in `sds` (empirical Bayes); each is sought from the last one's mode.

    **Source:** MacKay 1992, Neural Computation 4:415, doi 10.1162/neco.1992.4.3.415.
    """
    found: list[Mode] = []
    for sd in sds:
        found.append(find_mode(log_likelihood, start, centre=centre, sd=sd))
        start = found[-1].place
    best = max(range(len(found)), key=lambda place: found[place].log_evidence)
    return found[best], best
