"""True values that are limits of a fit: what a regression of a binary or ordinal outcome tends to in a large trial.

The expected outcome given the baseline of every twin under both arms is known, so the limit is the maximum of the expected
log likelihood over the twins' baselines: no outcome is drawn. Arms are weighted by their share in the randomisation. The MCSE
is that of the limits in BATCHES disjoint parts of the twins. Under an outcome that obeys the fitted model exactly the limit is
the declared coefficient to rounding.

Conditional odds ratio: logistic regression on the arm and the analysis's covariates. Common odds ratio of strata: the limit
of Mantel and Haenszel's, sum of w p_1 (1 - p_0) over sum of w p_0 (1 - p_1). Ordinal: proportional odds of the arm alone.

**Source:** White 1982, Econometrica 50:1, doi 10.2307/1912526; Mantel & Haenszel 1959, doi 10.1093/jnci/22.4.719;
McCullagh 1980, JRSS B 42:109, doi 10.1111/j.2517-6161.1980.tb01109.x.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import expit, xlogy

from trialsim.evaluation.truth import TrueValue

Floats = npt.NDArray[np.float64]
BATCHES = 20


def limit_with_mcse(fit: Callable[[slice], float | None], n: int) -> TrueValue | None:
    """The limit over all twins, and its MCSE from disjoint batches of them. None where it is undefined."""
    value = fit(slice(0, n))
    if value is None:
        return None
    edges = np.linspace(0, n, BATCHES + 1).astype(int)
    parts = [fit(slice(int(first), int(last))) for first, last in itertools.pairwise(edges)]
    known = np.array([part for part in parts if part is not None])
    return None if len(known) < BATCHES else TrueValue(value, float(known.std(ddof=1) / math.sqrt(BATCHES)), n)


def conditional_log_odds_ratio(test: Floats, reference: Floats, covariates: Floats | None, *, weights: tuple[float, float]) -> TrueValue | None:
    """The arm's coefficient in a logistic regression; `test` and `reference` `[twin]` are probabilities, `covariates` `[twin, covariate]`."""
    n = len(test)
    x = np.ones((n, 1)) if covariates is None else np.column_stack([np.ones(n), covariates - covariates.mean(axis=0)])

    def fit(part: slice) -> float | None:
        return _logistic(test[part], reference[part], x[part], weights)

    return limit_with_mcse(fit, n)


def _logistic(test: Floats, reference: Floats, x: Floats, weights: tuple[float, float]) -> float | None:
    """Newton's method; the last coefficient is the arm's."""
    size = x.shape[1]
    beta = np.zeros(size + 1)
    for _ in range(50):
        eta = x @ beta[:size]
        score, information = np.zeros(size + 1), np.zeros((size + 1, size + 1))
        for p, weight, arm in ((test, weights[0], 1.0), (reference, weights[1], 0.0)):
            fitted = expit(eta + arm * beta[-1])
            residual, spread = weight * (p - fitted), weight * fitted * (1.0 - fitted)
            score[:size] += x.T @ residual
            weighted = x.T @ (x * spread[:, None])
            information[:size, :size] += weighted
            if arm:
                score[-1] += residual.sum()
                information[-1, -1] += spread.sum()
                information[:size, -1] += x.T @ spread
        information[-1, :size] = information[:size, -1]
        if np.linalg.matrix_rank(information) != size + 1:
            return None
        step = np.linalg.solve(information, score)
        beta += np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-11:
            return float(beta[-1])
    return None


def common_log_odds_ratio(test: Floats, reference: Floats, stratum: npt.NDArray[np.int64], *, weights: tuple[float, float]) -> TrueValue | None:
    """The log of the limit of Mantel and Haenszel's common odds ratio over strata; `test` and `reference` are probabilities."""
    share = weights[0] * weights[1]

    def fit(part: slice) -> float | None:
        sizes = np.bincount(stratum[part]).astype(np.float64)
        p1, p0 = (np.bincount(stratum[part], p[part], len(sizes)) / np.maximum(sizes, 1.0) for p in (test, reference))
        up, down = float((sizes * share * p1 * (1.0 - p0)).sum()), float((sizes * share * p0 * (1.0 - p1)).sum())
        return math.log(up) - math.log(down) if up > 0.0 and down > 0.0 else None

    return limit_with_mcse(fit, len(test))


def proportional_log_odds_ratio(test: Floats, reference: Floats, *, weights: tuple[float, float]) -> TrueValue | None:
    """The arm's coefficient in a proportional-odds model; `test` and `reference` `[twin, cut]` are P(category above the cut)."""

    def fit(part: slice) -> float | None:
        return _proportional_odds(_categories(test[part].mean(axis=0)), _categories(reference[part].mean(axis=0)), weights)

    return limit_with_mcse(fit, len(test))


def _categories(above: Floats) -> Floats:
    """Probabilities of the categories from those of lying above each cut."""
    return -np.diff(np.concatenate([[1.0], above, [0.0]]))


def _proportional_odds(test: Floats, reference: Floats, weights: tuple[float, float]) -> float | None:
    """Maximum of the expected log likelihood over cuts and log odds ratio, by Newton's method with numerical curvature of the score."""
    mixed = weights[0] * test + weights[1] * reference
    keep = mixed > 0.0
    test, reference = test[keep], reference[keep]
    if len(test) < 2:
        return None
    above = np.cumsum((test + reference)[::-1])[::-1][1:] / 2.0
    theta = np.append(np.log(above) - np.log1p(-above), 0.0)

    def log_likelihood(theta: Floats) -> float:
        total = 0.0
        for p, weight, arm in ((test, weights[0], 1.0), (reference, weights[1], 0.0)):
            fitted = _categories(expit(theta[:-1] + arm * theta[-1]))
            if (fitted <= 0.0).any():
                return -math.inf
            total += weight * float(xlogy(p, fitted).sum())
        return total

    def score(theta: Floats) -> Floats:
        gradient = np.zeros(len(theta))
        for p, weight, arm in ((test, weights[0], 1.0), (reference, weights[1], 0.0)):
            beyond = expit(theta[:-1] + arm * theta[-1])
            ratio = weight * p / _categories(beyond)
            by_cut = (ratio[1:] - ratio[:-1]) * beyond * (1.0 - beyond)
            gradient[:-1] += by_cut
            gradient[-1] += arm * by_cut.sum()
        return gradient

    best = log_likelihood(theta)
    for _ in range(100):
        gradient = score(theta)
        steps = 1e-6 * np.eye(len(theta))
        curvature = np.stack([(score(theta + step) - score(theta - step)) / 2e-6 for step in steps])
        move = np.linalg.solve(-0.5 * (curvature + curvature.T), gradient)
        length = 1.0
        while (found := log_likelihood(theta + length * move)) < best - 1e-14 and length > 1e-6:
            length /= 2.0
        theta, best = theta + length * move, found
        if float(np.abs(move).max()) < 1e-10:
            return float(theta[-1])
    return None
