"""Missing cells of a table at their expected score, for the regressions of outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.columns import Array, Covariate
from trialsim.cohort.fitted.dependence import Dependence, GaussianFactors
from trialsim.cohort.fitted.margins import Scores

DRAWS = 60_000


def completed(covariates: Sequence[Covariate], columns: Sequence[FittedColumn], dependence: Dependence, scores: Sequence[Scores]) -> dict[str, Array]:
    """Every column as a cohort holds it, with missing cells at their expected score given the patient's other columns.

    The expectation is linear in the scores: exact for a Gaussian copula; for other kinds of dependence the best linear one.
    """
    held = {covariate.name: covariate.held() for covariate in covariates}
    z = np.stack([_expected_score(score) for score in scores], axis=1) if scores else np.zeros((len(next(iter(held.values()))), 0))
    missing = np.isnan(z)
    if missing.any():
        correlation = score_correlation(dependence, z.shape[1])
        patterns, which = np.unique(missing, axis=0, return_inverse=True)
        for place, pattern in enumerate(patterns):
            if not pattern.any():
                continue
            rows = which.reshape(-1) == place
            known = ~pattern
            slope = np.linalg.solve(correlation[np.ix_(known, known)], correlation[np.ix_(known, pattern)])
            z[np.ix_(rows, pattern)] = z[np.ix_(rows, known)] @ slope
    guesses = {column.name: torch.zeros(len(z), dtype=torch.float64) for column in columns}
    scored = [column.name for column in columns if column.margin is not None and not column.alone]
    guesses |= {name: torch.from_numpy(z[:, place].copy()) for place, name in enumerate(scored)}
    FittedCohort(columns=tuple(columns), dependence=dependence, card={}).from_scores(guesses)
    return {name: np.where(np.isnan(column), guesses[name].numpy(), column) for name, column in held.items()}


def score_correlation(dependence: Dependence, n_columns: int) -> Array:
    """The correlation of the scores: exact for a Gaussian copula, from 60,000 draws for others."""
    if isinstance(dependence, GaussianFactors):
        return dependence.correlation().numpy()
    generator = torch.Generator().manual_seed(3)
    own = torch.randn(n_columns, DRAWS, generator=generator, dtype=torch.float64)
    factors = torch.randn(dependence.n_factors, DRAWS, generator=generator, dtype=torch.float64)
    dependence.mix(list(own), list(factors))
    return np.asarray(np.corrcoef(own.numpy())) + 1e-6 * np.eye(n_columns)


def _expected_score(score: Scores) -> Array:
    """The score where exact, the mean of a normal within its interval else, NaN where missing."""
    low, high = score.ends[:, 0], score.ends[:, 1]
    density = np.exp(-0.5 * score.ends**2) / np.sqrt(2.0 * np.pi)
    mean = (density[:, 0] - density[:, 1]) / np.maximum(ndtr(high) - ndtr(low), 1e-300)
    out = score.exact.copy()
    within = score.interval >= 0
    out[within] = mean[score.interval[within]]
    return out
