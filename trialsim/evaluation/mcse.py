"""The Monte Carlo standard error of every kind of operating characteristic.

Every number that comes from n simulated trials is itself an estimate; these are its standard errors. None where it is
undefined (fewer than two replicates): such a result is left out, never NaN.

Source: Morris, White and Crowther (2019), table 6, doi 10.1002/sim.8086; the slope of the
quantile function from Bloch and Gastwirth (1968), doi 10.1214/aoms/1177698342.
"""

from __future__ import annotations

import math

WIDTH = 1.959963984540054
"""How far either side of a quantile, in standard errors of its rank, the slope of the quantile function is taken."""


def proportion_mcse(successes: int, n: int) -> float | None:
    """sqrt(p (1 - p) / n); at 0 or n successes p is replaced by (successes + 1) / (n + 2), so that it is never 0."""
    if n < 1:
        return None
    p = successes / n if 0 < successes < n else (successes + 1) / (n + 2)
    return math.sqrt(p * (1.0 - p) / n)


def mean_mcse(sd: float, n: int) -> float | None:
    """sd / sqrt(n)."""
    return sd / math.sqrt(n) if n >= 2 else None


def empirical_se_mcse(sd: float, n: int) -> float | None:
    """SE / sqrt(2 (n - 1)), exact for a normal estimator."""
    return sd / math.sqrt(2.0 * (n - 1)) if n >= 2 else None


def rmse_mcse(rmse: float, mse_mcse: float | None, bias: float, true_mcse: float) -> float | None:
    """The delta method: MCSE(mse) / (2 rmse), with the uncertainty of the true value, (bias / rmse) x its MCSE, in quadrature."""
    if mse_mcse is None:
        return None
    if rmse == 0.0:
        return true_mcse
    return math.hypot(mse_mcse / (2.0 * rmse), bias / rmse * true_mcse)


def quantile_ranks(p: float, n: int) -> tuple[int, int]:
    """The ranks (from 1) of the order statistics about 1.96 standard errors either side of the p-quantile."""
    half = WIDTH * math.sqrt(n * p * (1.0 - p))
    return max(1, math.floor(n * p - half)), min(n, math.ceil(n * p + half) + 1)


def quantile_mcse(low: float, high: float, p: float, n: int) -> float | None:
    """sqrt(n p (1 - p)) ranks times the slope (high - low) / (difference in rank) between the values at `quantile_ranks`.

    No density needs estimating and no law is assumed. 0 where the column is constant about the quantile.
    """
    below, above = quantile_ranks(p, n)
    return math.sqrt(n * p * (1.0 - p)) * (high - low) / (above - below) if n >= 2 else None
