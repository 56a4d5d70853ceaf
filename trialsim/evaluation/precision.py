"""How precise a cell's results are so far, from summaries of its chunks: when a target for the MCSE is met.

Chunks are summarised where they are simulated and merged in replicate order, so that what is decided from them is the same
on any number of workers. With n, mean m and sum of squares about the mean S,

    S = S1 + S2 + (m2 - m1)^2 n1 n2 / (n1 + n2)

The MCSE of each measure is that of `evaluation.mcse`. Simulation that goes on until an estimated standard error is small
enough stops a little early more often than late; from 4,096 replicates on, that is far below the MCSE itself.

Source: Chan, Golub and LeVeque (1983), doi 10.1080/00031305.1983.10483115, equation 2.1; Chow and Robbins (1965),
doi 10.1214/aoms/1177700156, for sequential stopping at a fixed width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trialsim.evaluation.mcse import empirical_se_mcse, mean_mcse, proportion_mcse
from trialsim.evaluation.trial_values import MEANS, SHARES, AnalysisLabels, Column, trial_values
from trialsim.records import TrialRecord

TARGETS = (*SHARES, *MEANS, "empirical_se")
"""Measures that may be named in `simulation.target_mcse`."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the values that are there (no NaN): how many, their total, the sum of squared deviations from their mean."""

    n: int
    total: float
    squares: float

    @classmethod
    def of(cls, values: np.ndarray) -> Summary:
        """Of one chunk."""
        values = values[~np.isnan(values)]
        if values.size == 0:
            return cls(0, 0.0, 0.0)
        deviation = values - values.mean()
        return cls(values.size, float(values.sum()), float((deviation * deviation).sum()))

    def merged(self, later: Summary) -> Summary:
        """Of both together."""
        if not self.n or not later.n:
            return later if not self.n else self
        n = self.n + later.n
        apart = later.total / later.n - self.total / self.n
        return Summary(n, self.total + later.total, self.squares + later.squares + apart * apart * (self.n * later.n / n))

    @property
    def sd(self) -> float:
        """With n - 1 in the denominator; 0 for fewer than two values."""
        return math.sqrt(self.squares / (self.n - 1)) if self.n > 1 else 0.0


Summaries = Mapping[Column, Summary]


def summarise(record: TrialRecord, labels: Mapping[str, AnalysisLabels], measures: frozenset[str]) -> dict[Column, Summary]:
    """The columns of a chunk on which these measures rest."""
    wanted = measures | ({"estimate_mean"} if "empirical_se" in measures else frozenset())
    return {column: Summary.of(values) for column, values in trial_values(record, labels).items() if column.measure in wanted} if measures else {}


def merge(before: Summaries, later: Summaries) -> dict[Column, Summary]:
    """Of the replicates of both; a column that one of them does not have is taken from the other."""
    return {
        column: before[column].merged(later[column]) if column in before and column in later else (before.get(column) or later[column])
        for column in {**before, **later}
    }


def mcse_so_far(found: Summaries, measure: str) -> dict[Column, float | None]:
    """The MCSE of every result of this measure, None where it is undefined; empty where a cell has no such result."""
    if measure == "empirical_se":
        return {column._replace(measure=measure): empirical_se_mcse(item.sd, item.n) for column, item in found.items() if column.measure == "estimate_mean"}
    return {
        column: proportion_mcse(round(item.total), item.n) if measure in SHARES else mean_mcse(item.sd, item.n)
        for column, item in found.items()
        if column.measure == measure
    }


def shortfall(found: Summaries, targets: Mapping[str, float]) -> dict[str, float]:
    """By target, how many times as many replicates its least precise result needs: 1 or less where it is precise enough.

    Infinite where the MCSE is undefined. A measure of which the cell has no result is left out: it does not bind there.
    """
    factors = {}
    for measure, target in targets.items():
        errors = mcse_so_far(found, measure)
        if errors:
            factors[measure] = max(math.inf if error is None else (error / target) ** 2 for error in errors.values())
    return factors
