"""Weights that make a cohort's means meet published ones, as close to equal weights as that allows.

    min Σ w_i log(n w_i)   subject to  Σ w_i = 1,  Σ w_i x_i = t

has w_i ∝ exp(x_i λ), with λ minimising the convex dual log Σ exp((x_i − t) λ): Newton's method, halving steps that do not
descend. A solution exists exactly when t lies inside the convex hull of the patients; outside it the dual has no minimum, λ runs
away, and that is reported, never weights that miss.

The effective sample size is (Σ w)² / Σ w².

**Source:** Hainmueller 2012, Polit Anal 20:25, doi 10.1093/pan/mpr025; Kish 1965, Survey Sampling (effective sample size).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_ITERATIONS = 200
GRADIENT = 1e-9  # largest miss of a target, in standard deviations of its column
MOST_EXTREME = 1e6  # a weight this many times the mean: the target is at the edge of what the patients reach


@dataclass(frozen=True, slots=True)
class Balance:
    """Weights `[patient]` (mean 1) that meet the targets, and the effective sample size; `converged` false: there are none.

    `miss` `[column]` is target − weighted mean in SDs of the column; without convergence it says which columns cannot be met together.
    """

    weights: Array
    ess: float
    converged: bool
    miss: Array


def balance(columns: Array, targets: Array) -> Balance:
    """Entropy weights of patients `columns` `[patient, column]` (no missing cells) whose weighted means are `targets` `[column]`.

    To balance a standard deviation as well, give the square of the column and mean² + sd². Columns that do not vary, or that follow
    from others, are met if their target agrees and make the balance fail if it does not.
    """
    n = len(columns)
    centre, spread = columns.mean(0), columns.std(0)
    scale = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(centre)), spread, 1.0)
    z, t = (columns - centre) / scale, (targets - centre) / scale
    z = z - t
    multiplier = np.zeros(z.shape[1])
    objective, weights = _dual(z, multiplier)
    for _ in range(MAX_ITERATIONS):
        gradient = z.T @ weights
        if np.abs(gradient).max(initial=0.0) < GRADIENT:
            break
        hessian = (z * weights[:, None]).T @ z - np.outer(gradient, gradient)
        step = -np.linalg.lstsq(hessian + 1e-12 * np.eye(len(hessian)), gradient, rcond=1e-12)[0]
        size = 1.0
        while size > 1e-10:
            candidate, of_candidate = _dual(z, multiplier + size * step)
            if candidate <= objective + 1e-4 * size * float(gradient @ step):
                break
            size /= 2
        else:
            break
        multiplier, objective, weights = multiplier + size * step, candidate, of_candidate
        if weights.max() * n > MOST_EXTREME:
            break
    miss = -(z.T @ weights)
    return Balance(weights * n, float(1.0 / (weights**2).sum()), bool(np.abs(miss).max(initial=0.0) < 1e-6), miss)


def _dual(z: Array, multiplier: Array) -> tuple[float, Array]:
    """log Σ exp(z λ) and the weights, which sum to 1."""
    score = z @ multiplier
    top = float(score.max())
    raw = np.exp(score - top)
    total = float(raw.sum())
    return top + float(np.log(total)), raw / total
