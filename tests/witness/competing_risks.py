"""Gray's test and Fine-Gray regression written out with loops over times, arms and pairs: no code in common with the kernels.

`gray` follows the recursion over times in which variances are carried forward as sums of squares and products; the kernel
sums the squares of final influences. `fine_gray` builds the matrix of every patient's weight at every event.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize


def gray(time: np.ndarray, cause: np.ndarray, group: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of arms 1, 2, … and their covariance; `cause` is 0 censored, 1 of interest, 2 other."""
    k = n_groups
    s_left, f_left, f_pooled = np.ones(k), np.zeros(k), 0.0
    score, c = np.zeros(k), np.zeros((k, k))
    v1, v2, v3 = np.zeros((k, k, k)), np.zeros((k, k)), np.zeros(k)  # v1[i, j, r], v2[i, r], v3[r]
    for t in np.unique(time):
        y = np.array([np.sum((group == g) & (time >= t)) for g in range(k)], float)
        d1 = np.array([np.sum((group == g) & (time == t) & (cause == 1)) for g in range(k)], float)
        d2 = np.array([np.sum((group == g) & (time == t) & (cause == 2)) for g in range(k)], float)
        if d1.sum() + d2.sum() == 0:
            continue
        there = y > 0
        s = np.where(there, s_left * (y - d1 - d2) / np.where(there, y, 1), s_left)
        f = np.where(there, f_left + s_left * d1 / np.where(there, y, 1), f_left)
        size = np.where(there, y / np.where(s_left > 0, s_left, 1), 0)
        total, total_r = size.sum(), (size * (1 - f_left)).sum()
        a = np.diag(size) - np.outer(size, size) / total
        f_new = f_pooled
        if d1.sum() > 0:
            score += d1 - d1.sum() * size * (1 - f_left) / total_r
            f_new = f_pooled + d1.sum() / total
            c += a * d1.sum() / (total * (1 - f_pooled))
        for r in np.flatnonzero(there):
            if d1.sum() > 0:
                t4 = 1 - (1 - f_new) / s[r] if s[r] > 0 else 1.0
                tie = 1 - (d1.sum() - 1) / (total * s_left[r] - 1) if d1.sum() > 1 else 1.0
                weight = tie * s_left[r] * d1.sum() / (total * y[r])
                one = a[:, r] - t4 * c[:, r]
                v1[:, :, r] += weight * np.outer(one, one)
                v2[:, r] += weight * t4 * one
                v3[r] += weight * t4**2
            if d2[r] > 0 and s[r] > 0:
                t4 = (1 - f_new) / s[r]
                tie = 1 - (d2[r] - 1) / (y[r] - 1) if d2[r] > 1 else 1.0
                weight = tie * s_left[r] ** 2 * d2[r] / y[r] ** 2
                one = t4 * c[:, r]
                v1[:, :, r] += weight * np.outer(one, one)
                v2[:, r] -= weight * t4 * one
                v3[r] += weight * t4**2
        s_left, f_left, f_pooled = s, f, f_new
    covariance = np.zeros((k, k))
    for r in range(k):
        cross = np.outer(c[:, r], v2[:, r])
        covariance += v1[:, :, r] + np.outer(c[:, r], c[:, r]) * v3[r] + cross + cross.T
    return score[1:], covariance[1:, 1:]


def fine_gray(time: np.ndarray, cause: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (Breslow's ties) and their robust covariance; `x` is patients by columns."""
    n = len(time)
    censored = cause == 0

    def g_left(t: float) -> float:
        return float(np.prod([1 - np.sum((time == u) & censored) / np.sum(time >= u) for u in np.unique(time[censored]) if u < t]))

    g = np.array([g_left(t) for t in time])
    events = np.flatnonzero(cause == 1)
    w = np.zeros((n, len(events)))
    for e, j in enumerate(events):
        w[:, e] = (time >= time[j]) | 0
        late = (cause == 2) & (time < time[j])
        w[late, e] = g[j] / g[late]

    def negative(beta: np.ndarray) -> float:
        eta = x @ beta
        return float(-(eta[events].sum() - np.log(w.T @ np.exp(eta)).sum()))

    def gradient(beta: np.ndarray) -> np.ndarray:
        weights = w * np.exp(x @ beta)[:, None]
        return -(x[events].sum(0) - (weights.T @ x / weights.sum(0)[:, None]).sum(0))

    found = optimize.minimize(negative, np.zeros(x.shape[1]), jac=gradient, method="BFGS", options={"gtol": 1e-10})
    beta = optimize.root(gradient, found.x, tol=1e-13).x
    weights = w * np.exp(x @ beta)[:, None]
    s0 = weights.sum(0)
    mean = weights.T @ x / s0[:, None]
    information = sum((weights[:, e, None] * (x - mean[e])).T @ (x - mean[e]) / s0[e] for e in range(len(events)))
    eta = np.zeros_like(x)
    eta[events] += x[events] - mean
    for e in range(len(events)):
        eta -= weights[:, e, None] * (x - mean[e]) / s0[e]
    psi = np.zeros_like(x)
    for u in np.unique(time[censored]):
        y = np.sum(time >= u)
        q = np.zeros(x.shape[1])
        for e, j in enumerate(events):
            if time[j] >= u:
                late = (cause == 2) & (time < u)
                q += (weights[late, e, None] * (x[late] - mean[e])).sum(0) / s0[e]
        own = (time == u) & censored
        psi[own] += q / y
        psi[time >= u] -= q / y * own.sum() / y
    inverse = np.linalg.inv(information)
    influence = (eta + psi) @ inverse
    return beta, influence.T @ influence
