"""Andersen-Gill regression with the variance by patient, and the mean cumulative function, with loops over events: no code in common with the kernels."""

from __future__ import annotations

import numpy as np
from scipy import optimize


def andersen_gill(events: list[list[float]], follow_up: np.ndarray, x: np.ndarray, stratum: np.ndarray, ties: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, their covariance from the information, and the robust one. `x` is patients by columns."""
    steps = []  # one per event: its patient, and every patient's weight in its risk set before exp(x'b)
    for s in np.unique(stratum):
        inside = np.flatnonzero(stratum == s)
        for t in sorted({t for i in inside for t in events[i]}):
            tied = [i for i in inside for u in events[i] if u == t]
            at_risk = ((stratum == s) & (follow_up >= t)).astype(float)
            for l in range(len(tied)):
                weight = at_risk.copy()
                if ties == "efron":
                    for i in tied:
                        weight[i] -= l / len(tied)
                steps.append((tied, weight))

    def parts(beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        theta = np.exp(x @ beta)
        likelihood, score, information, residual = 0.0, np.zeros(len(beta)), np.zeros((len(beta),) * 2), np.zeros_like(x)
        for tied, weight in steps:
            w = weight * theta
            s0 = w.sum()
            mean = w @ x / s0
            # Every tied patient holds an equal share of every one of the tied steps.
            for i in tied:
                likelihood += x[i] @ beta / len(tied)
                score += (x[i] - mean) / len(tied)
                residual[i] += (x[i] - mean) / len(tied)
            likelihood -= np.log(s0)
            information += (w[:, None] * (x - mean)).T @ (x - mean) / s0
            residual -= w[:, None] * (x - mean) / s0
        return likelihood, score, information, residual

    beta = optimize.root(lambda b: parts(b)[1], np.zeros(x.shape[1]), tol=1e-13).x
    _, _, information, residual = parts(beta)
    inverse = np.linalg.inv(information)
    influence = residual @ inverse
    return beta, inverse, influence.T @ influence


def mean_cumulative(events: list[list[float]], follow_up: np.ndarray, at: float) -> tuple[float, float]:
    """Mean number of events up to a time, and its robust variance."""
    times = sorted({t for own in events for t in own if t <= at})
    mean, influence = 0.0, np.zeros(len(events))
    for t in times:
        y = np.sum(follow_up >= t)
        d = np.array([own.count(t) for own in events])
        mean += d.sum() / y
        influence += (d - (follow_up >= t) * d.sum() / y) / y
    return mean, float(influence @ influence)
