"""How well trials estimated: mean, standard errors, bias, root mean squared error, coverage.

Everything is on the scale of inference. With true value t (known to its own Monte Carlo standard error s_t):

    bias = mean(e) - t              MCSE: hypot(MCSE of the mean, s_t)
    rmse = sqrt(mean((e - t)^2))    MCSE: delta method
    coverage = share of the intervals that hold t: the method's own limits where it has such, else e -/+ q x se, q the
               normal (or t) quantile at 1 - one-sided alpha

Coverage is of the *unadjusted* interval, the one that `analyse` prints, at the last look at which the analysis was made; its MCSE is binomial and does not
include s_t, whose effect is of second order.

Source: Morris, White and Crowther (2019), table 6, doi 10.1002/sim.8086.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri, stdtrit

from trialsim.evaluation.decisions import made
from trialsim.evaluation.exact_sums import Moments, Share
from trialsim.evaluation.mcse import empirical_se_mcse, mean_mcse, proportion_mcse, rmse_mcse
from trialsim.evaluation.results import CellLabels, Comparison, ResultRow
from trialsim.records import AnalysisRecord, TrialRecord


@dataclass(slots=True)
class _Tally:
    """Estimates and model standard errors at one look (or where the trial stopped)."""

    estimate: Moments = field(default_factory=Moments)
    std_error: Moments = field(default_factory=Moments)
    squared_error: Moments = field(default_factory=Moments)
    covered: Share = field(default_factory=Share)


@dataclass(slots=True)
class Estimation:
    """Estimation of one comparison; nothing where its method estimates nothing."""

    comparison: Comparison
    _tallies: dict[int | None, _Tally] = field(default_factory=dict)

    def add(self, record: TrialRecord, analysis: AnalysisRecord) -> None:
        """Counts a chunk."""
        if analysis.estimate is None or analysis.std_error is None:
            return
        estimate, std_error = analysis.estimate.numpy(), analysis.std_error.numpy()
        df = None if analysis.df is None else analysis.df.numpy()
        there = made(analysis)
        last = there.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)
        at = (np.arange(len(last)), last)
        usable = there.any(axis=1) & np.isfinite(estimate[at]) & np.isfinite(std_error[at])
        final = (estimate[at][usable], std_error[at][usable])
        self._count(None, *final)
        if self.comparison.truth is not None:
            truth, tail = self.comparison.truth.value, 1.0 - self.comparison.alpha_one_sided
            if analysis.ci_low is not None and analysis.ci_high is not None:
                low, high = analysis.ci_low.numpy()[at], analysis.ci_high.numpy()[at]
                known = there.any(axis=1) & ~np.isnan(low) & ~np.isnan(high)
                covered = (low[known] <= truth) & (truth <= high[known])
            else:
                half = (ndtri(tail) if df is None else stdtrit(df[at][usable], tail)) * final[1]
                covered = np.abs(final[0] - truth) <= half
            self._tally(None).covered.add(covered)
        reached = record.reached.numpy()
        for look in self.comparison.looks:
            usable = reached[:, look - 1] & np.isfinite(estimate[:, look - 1]) & np.isfinite(std_error[:, look - 1])
            self._count(look, estimate[usable, look - 1], std_error[usable, look - 1])

    def _tally(self, look: int | None) -> _Tally:
        return self._tallies.setdefault(look, _Tally())

    def _count(self, look: int | None, estimate: np.ndarray, std_error: np.ndarray) -> None:
        tally = self._tally(look)
        tally.estimate.add(estimate)
        tally.std_error.add(std_error)
        if self.comparison.truth is not None:
            tally.squared_error.add((estimate - self.comparison.truth.value) ** 2)

    def rows(self, labels: CellLabels) -> Iterator[ResultRow]:
        """The rows that are defined."""
        truth = self.comparison.truth
        if truth is not None and self._tallies:
            yield self._row(labels, None, "true_value", truth.value, truth.mcse, truth.n)
        for look, tally in self._tallies.items():
            n, sd = tally.estimate.n, tally.estimate.sd
            mcse = mean_mcse(sd, n)
            if mcse is None:
                continue
            yield self._row(labels, look, "estimate_mean", tally.estimate.mean, mcse, n)
            yield self._row(labels, look, "model_se_mean", tally.std_error.mean, mean_mcse(tally.std_error.sd, n), n)
            yield self._row(labels, look, "empirical_se", sd, empirical_se_mcse(sd, n), n)
            if truth is None:
                continue
            bias = tally.estimate.mean - truth.value
            rmse = float(np.sqrt(tally.squared_error.mean))
            yield self._row(labels, look, "bias", bias, float(np.hypot(mcse, truth.mcse)), n)
            yield self._row(labels, look, "rmse", rmse, rmse_mcse(rmse, mean_mcse(tally.squared_error.sd, n), bias, truth.mcse), n)
            share = tally.covered
            if look is None and share.n:
                yield self._row(labels, look, "coverage", share.successes / share.n, proportion_mcse(share.successes, share.n), share.n, scale="probability")

    def _row(self, labels: CellLabels, look: int | None, measure: str, estimate: float, mcse: float | None, n: int, *, scale: str | None = None) -> ResultRow:
        comparison = self.comparison
        assert mcse is not None
        return ResultRow(
            labels.design,
            labels.scenario,
            labels.role,
            comparison.analysis,
            comparison.endpoint,
            comparison.arm,
            look,
            measure,
            scale or comparison.scale or "inference",
            comparison.null,
            estimate,
            mcse,
            n,
        )
