"""The expected statistic of a comparison of means (t-test, analysis of covariance).

With the difference δ between the arms, standard deviations σ_a of what the method leaves unexplained (around the arm's
mean; with covariates, around the regression on them common to the arms) and n_a patients with a value,

    E[Z] ≈ ± δ / √(σ_1² / n_1 + σ_0² / n_0)

δ and σ_a come from a sample of twins seen under both arms, so the difference carries no noise where the effect is the same
for everyone. The information is 1 / (σ_1² / n_1 + σ_0² / n_0), and looks have the correlation √(I_j / I_k).

**Source**: Jennison & Turnbull 2000, chapter 3; Yang & Tsiatis 2001, doi 10.1198/000313001753272466 (covariates).

Not handled: the t distribution's tails (a normal approximation), missing values that depend on the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeanEffect:
    """The difference of two arms (test minus reference) and the unexplained standard deviation in each."""

    difference: float
    sd_test: float
    sd_reference: float

    def mean_z(self, n_test: Sequence[float], n_reference: Sequence[float], *, favours: int) -> tuple[Array, Array]:
        """The mean of z and the information at looks with these numbers of values per arm, `[look]` each. `favours`: +1 where larger is better."""
        variance = self.sd_test**2 / np.maximum(n_test, 1e-300) + self.sd_reference**2 / np.maximum(n_reference, 1e-300)
        information = 1.0 / variance
        return favours * self.difference * np.sqrt(information), information


def mean_effect(*, test: Array, reference: Array, covariates: Array | None = None) -> MeanEffect:
    """The effect on a sample of twins: `test` and `reference` `[patient]` are the same twins under either arm.

    `covariates` `[patient covariate]` are what the analysis adjusts for. Twins with a missing number are left out.
    """
    known = np.isfinite(test) & np.isfinite(reference)
    if covariates is not None:
        known &= np.isfinite(covariates).all(axis=1)
    difference = float((test[known] - reference[known]).mean())
    if covariates is None or covariates.shape[1] == 0:
        return MeanEffect(difference, float(test[known].std(ddof=1)), float(reference[known].std(ddof=1)))
    centred = covariates[known] - covariates[known].mean(axis=0)
    outcome = 0.5 * ((test[known] - test[known].mean()) + (reference[known] - reference[known].mean()))
    slope = np.linalg.lstsq(centred, outcome, rcond=None)[0]
    left = [values[known] - values[known].mean() - centred @ slope for values in (test, reference)]
    dof = max(int(known.sum()) - 1 - covariates.shape[1], 1)
    return MeanEffect(difference, *(math.sqrt(float(rest @ rest) / dof) for rest in left))
