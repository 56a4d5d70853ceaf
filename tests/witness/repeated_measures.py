"""Repeated measures from the formula, one data set at a time, patient by patient: no code in common with the kernels.

The likelihood is that of y ~ N(X beta, V) with V block diagonal; X is coded as R does (intercept, covariates, arm, visits
after the first, arm by visit). Derivatives are numerical.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize

PHI = {
    "unstructured": lambda n: n * (n - 1) // 2,
    "ar1": lambda n: 1,
    "compound_symmetry": lambda n: 1,
    "toeplitz": lambda n: n - 1,
    "antedependence": lambda n: n - 1,
}


def n_parameters(name: str, n_visits: int) -> int:
    kind = name.removeprefix("heterogeneous_")
    return PHI[kind](n_visits) + (n_visits if kind == "unstructured" or kind != name else 1)


def sigma_of(theta: np.ndarray, name: str, n_visits: int) -> np.ndarray:
    """The covariance matrix: log standard deviations first, then what correlations are made of."""
    kind = name.removeprefix("heterogeneous_")
    several = kind == "unstructured" or kind != name
    sd = np.exp(theta[:n_visits]) if several else np.full(n_visits, np.exp(theta[0]))
    phi = theta[n_visits if several else 1 :]
    if kind == "unstructured":
        lower = np.eye(n_visits)
        lower[np.tril_indices(n_visits, -1)] = phi
        return np.outer(sd, sd) * (lower @ lower.T)
    if kind == "compound_symmetry":
        least = 1 / (n_visits - 1)
        rho = np.array([(1 + least) / (1 + math.exp(-phi[0])) - least])
    else:
        rho = phi / np.sqrt(1 + phi**2)
    correlation = np.eye(n_visits)
    for i in range(n_visits):
        for j in range(i):
            correlation[i, j] = correlation[j, i] = {
                "compound_symmetry": lambda: rho[0],
                "ar1": lambda i=i, j=j: rho[0] ** (i - j),
                "toeplitz": lambda i=i, j=j: rho[i - j - 1],
                "antedependence": lambda i=i, j=j: np.prod(rho[j:i]),
            }[kind]()
    return np.outer(sd, sd) * correlation


def patients_of(value: np.ndarray, group: np.ndarray, covariates: np.ndarray | None, *, by_visit: bool = False, n_groups: int = 2) -> list:
    """(X, y, seen) of every patient; columns: intercept, covariates, arms, visits, [covariates by visit,] arms by visit."""
    n_visits = value.shape[1]
    found = []
    for i in range(len(value)):
        seen = np.flatnonzero(~np.isnan(value[i]))
        if len(seen) == 0 or (covariates is not None and np.isnan(covariates[i]).any()):
            continue
        arms = [float(group[i] == g) for g in range(1, n_groups)]
        z = [] if covariates is None else list(covariates[i])
        rows = []
        for t in seen:
            visits = [float(t == s) for s in range(1, n_visits)]
            row = [1.0, *z, *arms, *visits]
            row += [v * c for c in z for v in visits] if by_visit else []
            rows.append(row + [v * a for a in arms for v in visits])
        found.append((np.array(rows), value[i, seen], seen))
    return found


def inverses(theta: np.ndarray, name: str, n_visits: int, patients: list) -> list[np.ndarray]:
    """The inverse of every patient's covariance matrix."""
    sigma = sigma_of(theta, name, n_visits)
    once = {key: np.linalg.inv(sigma[np.ix_(key, key)]) for key in {tuple(s) for _, _, s in patients}}
    return [once[tuple(s)] for _, _, s in patients]


def gls(theta: np.ndarray, name: str, n_visits: int, patients: list) -> tuple[np.ndarray, np.ndarray]:
    """beta and its covariance matrix."""
    a, b = 0.0, 0.0
    for (x, y, _), inverse in zip(patients, inverses(theta, name, n_visits, patients), strict=True):
        weighted = x.T @ inverse
        a, b = a + weighted @ x, b + weighted @ y
    phi = np.linalg.inv(a)
    return phi @ b, phi


def deviance(theta: np.ndarray, name: str, n_visits: int, patients: list, *, reml: bool = True) -> float:
    """-2 log-likelihood, constants included; infinite where sigma is not positive definite."""
    if np.linalg.eigvalsh(sigma_of(theta, name, n_visits))[0] <= 0:
        return math.inf
    beta, phi = gls(theta, name, n_visits, patients)
    total = 0.0
    for (x, y, _), inverse in zip(patients, inverses(theta, name, n_visits, patients), strict=True):
        residual = y - x @ beta
        total += residual @ inverse @ residual - math.log(np.linalg.det(inverse))
    n = sum(len(y) for _, y, _ in patients)
    if reml:
        return total - math.log(np.linalg.det(phi)) + (n - len(beta)) * math.log(2 * math.pi)
    return total + n * math.log(2 * math.pi)


def gradient(f: Callable[[np.ndarray], np.ndarray], at: np.ndarray, h: float = 1e-3) -> np.ndarray:
    """Central differences, twice extrapolated; [parameter, ...]."""
    parts = []
    for k in range(len(at)):
        e = np.zeros(len(at))
        e[k] = 1.0

        def slope(step: float, e: np.ndarray = e) -> np.ndarray:
            return (f(at + step * e) - f(at - step * e)) / (2 * step)

        one, two, three = slope(h), slope(h / 2), slope(h / 4)
        a, b = (4 * two - one) / 3, (4 * three - two) / 3
        parts.append((16 * b - a) / 15)
    return np.array(parts)


def hessian(f: Callable[[np.ndarray], float], at: np.ndarray, h: float = 2e-2) -> np.ndarray:
    """Second differences, twice extrapolated."""
    q = len(at)

    def second(step: float) -> np.ndarray:
        found = np.zeros((q, q))
        for i in range(q):
            for j in range(i + 1):
                e, g = step * np.eye(q)[i], step * np.eye(q)[j]
                found[i, j] = found[j, i] = (f(at + e + g) - f(at + e - g) - f(at - e + g) + f(at - e - g)) / (4 * step * step)
        return found

    one, two, three = second(h), second(h / 2), second(h / 4)
    a, b = (4 * two - one) / 3, (4 * three - two) / 3
    return (16 * b - a) / 15


def maximise(name: str, n_visits: int, patients: list, *, reml: bool = True, start: np.ndarray | None = None) -> np.ndarray:
    """theta by a quasi-Newton search from independence, then Newton's steps."""
    if start is None:
        spread = np.log(np.std(np.concatenate([y for _, y, _ in patients])))
        start = np.zeros(n_parameters(name, n_visits))
        start[: len(start) - PHI[name.removeprefix("heterogeneous_")](n_visits)] = spread

    def f(theta: np.ndarray) -> float:
        return deviance(theta, name, n_visits, patients, reml=reml)

    found = optimize.minimize(f, start, method="BFGS", options={"gtol": 1e-3}).x
    for _ in range(2):
        found = found - np.linalg.solve(hessian(f, found), gradient(f, found))
    return found


def contrast(theta: np.ndarray, c: np.ndarray, name: str, n_visits: int, patients: list, *, reml: bool = True) -> dict[str, float]:
    """Estimate, model-based and Kenward-Roger standard errors, Satterthwaite's degrees of freedom."""
    beta, phi = gls(theta, name, n_visits, patients)
    spread = 2 * np.linalg.inv(hessian(lambda t: deviance(t, name, n_visits, patients, reml=reml), theta))
    slope = gradient(lambda t: c @ gls(t, name, n_visits, patients)[1] @ c, theta)
    variance = c @ phi @ c
    sigma = sigma_of(theta, name, n_visits)
    first = gradient(lambda t: sigma_of(t, name, n_visits), theta)
    second = gradient(lambda t: gradient(lambda u: sigma_of(u, name, n_visits), t), theta)
    q = len(theta)
    p_r = np.zeros((q, len(beta), len(beta)))
    extra, bend = np.zeros_like(phi), np.zeros_like(phi)
    for x, _, s in patients:
        inverse = np.linalg.inv(sigma[np.ix_(s, s)])
        for r in range(q):
            first_r = first[r][np.ix_(s, s)]
            p_r[r] -= x.T @ inverse @ first_r @ inverse @ x
            for t in range(q):
                extra += spread[r, t] * (x.T @ inverse @ first_r @ inverse @ first[t][np.ix_(s, s)] @ inverse @ x)
                bend += spread[r, t] * (x.T @ inverse @ second[r, t][np.ix_(s, s)] @ inverse @ x) / 4
    for r in range(q):
        for t in range(q):
            extra -= spread[r, t] * (p_r[r] @ phi @ p_r[t])
    linear = phi + 2 * phi @ extra @ phi
    adjusted = linear - 2 * phi @ bend @ phi
    return {
        "estimate": float(c @ beta),
        "std_error": float(variance**0.5),
        "kenward_roger": float((c @ adjusted @ c) ** 0.5),
        "kenward_roger_linear": float((c @ linear @ c) ** 0.5),
        "df": float(2 * variance**2 / (slope @ spread @ slope)),
    }


def sandwich(theta: np.ndarray, c: np.ndarray, name: str, n_visits: int, patients: list, kind: str) -> tuple[float, float]:
    """Robust standard error and degrees of freedom, with whole-sample matrices of all values."""
    beta, phi = gls(theta, name, n_visits, patients)
    sigma = sigma_of(theta, name, n_visits)
    roots = [np.linalg.cholesky(np.linalg.inv(sigma[np.ix_(s, s)])) for _, _, s in patients]  # W = L L'
    whitened = np.concatenate([root.T @ x for root, (x, _, _) in zip(roots, patients, strict=True)])
    hat = whitened @ phi @ whitened.T
    ends = np.cumsum([0, *(len(y) for _, y, _ in patients)])
    columns, total = [], 0.0
    for i, (root, (x, y, _)) in enumerate(zip(roots, patients, strict=True)):
        rows = slice(ends[i], ends[i + 1])
        values, vectors = np.linalg.eigh(np.eye(len(y)) - hat[rows, rows])
        power = {"empirical": 0.0, "bias_reduced": -0.5, "jackknife": -1.0}[kind]
        adjusted = vectors @ np.diag(values**power) @ vectors.T @ whitened[rows] @ phi @ c
        total += float(adjusted @ root.T @ (y - x @ beta)) ** 2
        columns.append((np.eye(len(hat)) - hat)[:, rows] @ adjusted)
    g = np.array(columns)
    g = g @ g.T
    return total**0.5, float(np.trace(g) ** 2 / (g**2).sum())
