"""Whether cells are missing as often, and together, as in the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trialsim.cohort.fidelity.dependence import correlation_se, pairwise_correlation
from trialsim.cohort.fidelity.measured import Measured
from trialsim.cohort.fidelity.side_by_side import SideBySide


@dataclass(frozen=True, slots=True)
class MissingRate:
    """The share of missing cells of one column; `error` is synthetic − real."""

    column: str
    real: float
    synthetic: float
    error: Measured

    def as_json(self) -> dict[str, Any]:
        return {"column": self.column, "real": self.real, "synthetic": self.synthetic, "error": self.error.as_json()}


@dataclass(frozen=True, slots=True)
class Missingness:
    """Rates of the columns with a missing cell on either side, and the largest error of a correlation of two of them.

    `patterns` is the total variation distance between the patterns (which columns are missing together) of both tables.
    """

    rates: tuple[MissingRate, ...]
    correlation: Measured | None
    correlated: tuple[str, str] | None
    patterns: Measured

    @property
    def worst(self) -> MissingRate | None:
        """The column whose rate is farthest off."""
        return max(self.rates, key=lambda rate: abs(rate.error.estimate), default=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "rates": [rate.as_json() for rate in self.rates],
            "largest_correlation_error": None
            if self.correlation is None or self.correlated is None
            else {"columns": list(self.correlated), **self.correlation.as_json()},
            "patterns_tv": self.patterns.as_json(),
        }


def missingness(pair: SideBySide) -> Missingness:
    """Rates, correlations of the indicators of missing cells, and patterns.

    A correlation counts where both columns have missing cells in the data; where the synthetic table has none in one of
    them, all of it is lost. Whether a cell is missing *because of* another column's value is left to the classifier,
    which sees missing cells as they are.
    """
    n, m = pair.n_real, pair.n_synthetic
    concerned = [column for column in pair.columns if np.isnan(column.real).any() or np.isnan(column.synthetic).any()]
    if not concerned:
        return Missingness((), None, None, Measured(0.0, 0.0, n, m))
    real, synthetic = (np.stack([np.isnan(getattr(column, side)) for column in concerned], axis=1) for side in ("real", "synthetic"))
    rates = []
    for column, p, q in zip(concerned, real.mean(0), synthetic.mean(0), strict=True):
        se = float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m))
        rates.append(MissingRate(column.name, float(p), float(q), Measured(float(q - p), se, n, m)))
    ours, theirs = pairwise_correlation(real.astype(np.float64)), pairwise_correlation(synthetic.astype(np.float64))
    error = np.where(np.isnan(ours), np.nan, np.nan_to_num(theirs) - ours)
    np.fill_diagonal(error, np.nan)
    correlation, correlated = None, None
    if not np.isnan(error).all():
        i, j = np.unravel_index(int(np.nanargmax(np.abs(error))), error.shape)
        se = np.hypot(correlation_se(*real[:, [i, j]].T.astype(np.float64)), np.nan_to_num(correlation_se(*synthetic[:, [i, j]].T.astype(np.float64))))
        correlation = Measured(float(error[i, j]), float(se), n, m)
        correlated = (concerned[int(i)].name, concerned[int(j)].name)
    patterns, place = np.unique(np.concatenate((real, synthetic)), axis=0, return_inverse=True)
    shares_real, shares_synthetic = (np.bincount(part, minlength=len(patterns)) / len(part) for part in np.split(place.ravel(), [n]))
    rarer = shares_real > shares_synthetic
    a, b = float(shares_real[rarer].sum()), float(shares_synthetic[rarer].sum())
    distance = Measured(a - b, float(np.sqrt(a * (1 - a) / n + b * (1 - b) / m)), n, m)
    return Missingness(tuple(rates), correlation, correlated, distance)
