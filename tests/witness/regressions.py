"""Second implementations of regressions of counts and repeated values: plain NumPy and SciPy, from the formulas.

Written from the model's likelihood or estimating equation, maximised or solved by general-purpose routines, without a look
at the kernels.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special


def negative_binomial(y: np.ndarray, x: np.ndarray, offset: np.ndarray, *, adjusted: bool) -> tuple[np.ndarray, float]:
    """Coefficients and dispersion k of the largest (Cox-Reid adjusted) profile likelihood, by a search over log k."""

    def given(k: float) -> tuple[np.ndarray, float]:
        beta = np.zeros(x.shape[1])
        beta[0] = np.log(y.sum() / np.exp(offset).sum())
        for _ in range(200):
            mu = np.exp(x @ beta + offset)
            weight = mu / (1 + k * mu)
            step = np.linalg.solve((x.T * weight) @ x, x.T @ ((y - mu) / (1 + k * mu)))
            beta = beta + step
            if np.abs(step).max() < 1e-13:
                break
        mu = np.exp(x @ beta + offset)
        theta = 1 / k
        terms = special.gammaln(y + theta) - special.gammaln(theta) + theta * np.log(theta) + y * np.log(mu) - (theta + y) * np.log(theta + mu)
        value = terms.sum()
        if adjusted:
            value -= 0.5 * np.linalg.slogdet((x.T * (mu / (1 + k * mu))) @ x)[1]
        return beta, value

    best = optimize.minimize_scalar(lambda log_k: -given(np.exp(log_k))[1], bounds=(-6, 4), method="bounded", options={"xatol": 1e-11})
    return given(float(np.exp(best.x)))[0], float(np.exp(best.x))


def gee(y: np.ndarray, x: np.ndarray, *, family: str, structure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, their robust variance and the working correlation. `y` is [patient, visit] with NaN, `x` [patient, column]."""
    n, n_visits = y.shape
    seen = ~np.isnan(y)

    def mean(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if family == "gaussian":
            return eta, np.ones_like(eta)
        if family == "poisson":
            return np.exp(eta), np.exp(eta)
        p = special.expit(eta)
        return p, p * (1 - p)

    def working(beta: np.ndarray) -> np.ndarray:
        mu, variance = mean(x @ beta)
        r = np.where(seen, (y - mu[:, None]) / np.sqrt(variance)[:, None], 0.0)
        r = r / np.sqrt((r**2).sum() / seen.sum())
        products = [(j, k, r[i, j] * r[i, k]) for i in range(n) for j in range(n_visits) for k in range(j) if seen[i, j] and seen[i, k]]
        found = np.eye(n_visits)
        if structure == "exchangeable":
            found[:] = np.mean([product for _, _, product in products])
        elif structure == "ar1":

            def equation(alpha: float) -> float:
                return sum((product - alpha ** (j - k)) * (j - k) * alpha ** (j - k - 1) for j, k, product in products)

            alpha = optimize.brentq(equation, 1e-9, 1 - 1e-9, xtol=1e-15)
            found = alpha ** np.abs(np.subtract.outer(np.arange(n_visits), np.arange(n_visits)))
        elif structure == "unstructured":
            for j in range(n_visits):
                for k in range(j):
                    found[j, k] = found[k, j] = np.mean([product for a, b, product in products if (a, b) == (j, k)])
        np.fill_diagonal(found, 1.0)
        return found

    def equations(beta: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each patient's term, and the expected slope of their sum."""
        mu, variance = mean(x @ beta)
        terms, slope = np.zeros((n, x.shape[1])), np.zeros((x.shape[1], x.shape[1]))
        for i in range(n):
            rows = seen[i]
            if not rows.any():
                continue
            d = np.repeat(variance[i] * x[i][None], rows.sum(), axis=0)
            inverse = np.linalg.inv(correlation[np.ix_(rows, rows)] * variance[i])
            terms[i] = d.T @ inverse @ (y[i, rows] - mu[i])
            slope += d.T @ inverse @ d
        return terms, slope

    beta = np.zeros(x.shape[1])
    overall = np.nanmean(y)
    beta[0] = {"gaussian": overall, "poisson": np.log(overall), "binomial": special.logit(overall) if family == "binomial" else 0.0}[family]
    correlation = np.eye(n_visits)
    for _ in range(300):
        terms, slope = equations(beta, correlation)
        step = np.linalg.solve(slope, terms.sum(0))
        beta = beta + step
        before, correlation = correlation, working(beta)
        if np.abs(step).max() < 1e-13 and np.abs(correlation - before).max() < 1e-13:
            break
    terms, slope = equations(beta, correlation)
    bread = np.linalg.inv(slope)
    return beta, bread @ (terms.T @ terms) @ bread, correlation


def proportional_odds(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of the cumulative logit model and their variance, by BFGS and a numerical second derivative."""
    n_levels, p = int(y.max()) + 1, x.shape[1]

    def against(parameters: np.ndarray) -> float:
        cuts = np.concatenate([[-np.inf], np.cumsum(np.concatenate([parameters[p : p + 1], np.exp(parameters[p + 1 :])])), [np.inf]])
        eta = x @ parameters[:p]
        return -np.log(special.expit(cuts[y + 1] - eta) - special.expit(cuts[y] - eta)).sum()

    share = np.array([(y <= level).mean() for level in range(n_levels - 1)])
    cuts = special.logit(share)
    start = np.concatenate([np.zeros(p), cuts[:1], np.log(np.diff(cuts))])
    found = optimize.minimize(against, start, method="BFGS", options={"gtol": 1e-7}).x
    step, size = 1e-4, len(found)
    hessian = np.zeros((size, size))
    unit = np.eye(size) * step
    for i in range(size):
        for j in range(size):
            corners = [against(found + a * unit[i] + b * unit[j]) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            hessian[i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * step * step)
    return found[:p], np.linalg.inv(hessian)[:p, :p]


def standardised(y: np.ndarray, covariates: np.ndarray, arm: np.ndarray) -> dict[str, tuple[float, float]]:
    """Marginal effects of a logistic regression and their sandwich standard errors from stacked equations, differentiated numerically."""
    n = len(y)
    x = np.column_stack([np.ones(n), covariates, arm])

    def equations(parameters: np.ndarray) -> np.ndarray:
        beta, (m0, m1) = parameters[:-2], parameters[-2:]
        rest = x[:, :-1] @ beta[:-1]
        return np.column_stack([x * (y - special.expit(x @ beta))[:, None], special.expit(rest) - m0, special.expit(rest + beta[-1]) - m1])

    root = optimize.root(lambda parameters: equations(parameters).mean(0), np.concatenate([np.zeros(x.shape[1]), [0.5, 0.5]]), tol=1e-13).x
    size, step = len(root), 1e-6
    slope = np.column_stack(
        [(equations(root + step * np.eye(size)[j]).mean(0) - equations(root - step * np.eye(size)[j]).mean(0)) / (2 * step) for j in range(size)]
    )
    bread = np.linalg.inv(slope)
    terms = equations(root)
    variance = bread @ (terms.T @ terms / n) @ bread.T / n
    m0, m1 = root[-2:]
    found = {}
    for name, effect, gradient in (
        ("difference", m1 - m0, (-1.0, 1.0)),
        ("ratio", np.log(m1 / m0), (-1 / m0, 1 / m1)),
        ("odds_ratio", special.logit(m1) - special.logit(m0), (-1 / (m0 * (1 - m0)), 1 / (m1 * (1 - m1)))),
    ):
        g = np.array(gradient)
        found[name] = (float(effect), float(np.sqrt(g @ variance[-2:, -2:] @ g)))
    return found
