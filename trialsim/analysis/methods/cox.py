"""Proportional hazards regression by partial likelihood: the arm, covariates beside it, strata with their own baseline.

The estimate is the log hazard ratio of test against reference with its standard error from the observed information at
the maximum, or (`robust`) from the sandwich of score residuals. `test: wald` is b/se; `score` is U/√I at b = 0 and `likelihood_ratio` the signed root of
2 (log L(b) - log L(0)), both with the covariates' coefficients at their maximum under b = 0. The interval is b -/+ quantile x se, or
(`interval: profile`) the values that the likelihood-ratio test does not reject. Tied times by Efron's or Breslow's method, or by
the exact partial likelihood (`exact_ties`, for discrete times). Patients with a missing covariate are left out (complete
cases). Several test arms are levels of one model, each with its own coefficient; the estimate is that of group 1.

A replicate in which the likelihood has no finite maximum in the arm (no event of one arm while the other was at risk)
fails, whatever the test.

**Source:** Cox 1972 (doi 10.1111/j.2517-6161.1972.tb00899.x); see `partial_likelihood` and `risk_sets`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from scipy import special
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.arm_hazard_ratio import arm_counts, cox_arm_only, score_at_log_hr
from trialsim.analysis.failures import DID_NOT_CONVERGE, SINGULAR, complete_cases, event_failures, fail
from trialsim.analysis.partial_likelihood import maximise, robust_variance, standardised
from trialsim.analysis.profile_interval import profile_limits
from trialsim.analysis.risk_sets import Ties, risk_sets
from trialsim.records import Estimates, EventData

__all__ = ["Cox", "arm_counts", "cox_arm_only", "score_at_log_hr"]


class Cox(Analysis):
    """Cox regression; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event",)
    scale: ClassVar[str | None] = "hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_hazard_ratio"
    takes_covariates: ClassVar[bool] = True
    takes_strata: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    method: Literal["cox"] = Field(description="Cox proportional hazards regression.")
    ties: Literal["efron", "breslow", "exact"] = Field(default="efron", description="How tied event times enter the partial likelihood.")
    robust: bool = Field(default=False, description="Sandwich standard error, which does not need proportional hazards.")
    test: Literal["wald", "score", "likelihood_ratio"] = Field(default="wald", description="Which test of the arm is reported.")
    interval: Literal["wald", "profile"] = Field(default="wald", description="Interval of the hazard ratio: from the standard error, or profile likelihood.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.robust and self.ties == "exact":
            yield "robust: true with ties: exact of cox"
        if self.robust and self.interval == "profile":
            yield "robust: true with interval: profile of cox"
        if self.robust and self.test != "wald":
            yield f"robust: true with test: {self.test} of cox"
        if self.type != "superiority" and self.test != "wald":
            yield f"type: {self.type} with test: {self.test} of cox (logrank has the score test)"

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log hazard ratio, its standard error and the test; see `Analysis.estimate`."""
        data = _complete(data)
        fit = self._exact(data) if self.ties == "exact" else self._fit(data, self.ties)
        if self.test == "wald":
            statistic = fit.log_hr / fit.std_error
        elif self.test == "score":
            statistic = fit.score_z
        else:
            statistic = torch.sign(fit.log_hr) * (2.0 * fit.log_likelihood_gain).clamp(min=0.0).sqrt()
        estimate, std_error, statistic, low, high = fail(fit.failure, fit.log_hr, fit.std_error, favours * statistic, fit.low, fit.high)
        there = data.time >= 0
        return Estimates(
            statistic=statistic,
            n=there.sum(-1),
            failure=fit.failure,
            n_events=(data.event & there).sum(-1),
            estimate=estimate,
            std_error=std_error,
            ci_low=low if self.interval == "profile" else None,
            ci_high=high if self.interval == "profile" else None,
        )

    def _fit(self, data: EventData, ties: Ties) -> _Fit:
        quantile = -float(special.ndtri(self.alpha_one_sided)) if self.interval == "profile" else None
        if data.covariates is None and not self.robust and quantile is None and data.n_groups == 2 and ties != "exact":
            return _arm_alone(data, ties=ties, test=self.test)
        return _with_covariates(data, ties=ties, test=self.test, robust=self.robust, quantile=quantile)

    def _exact(self, data: EventData) -> _Fit:
        """Without tied events every method is exact, and Breslow's the fastest."""
        fit = self._fit(data, "breslow")
        rows = _tied_rows(data)
        if not len(rows):
            return fit
        tied = self._fit(_rows(data, rows), "exact")
        return _Fit(*(getattr(fit, name).index_copy(0, rows, getattr(tied, name)) for name in _Fit.__slots__))


@dataclasses.dataclass(frozen=True, slots=True)
class _Fit:
    log_hr: Float[Tensor, "replicate"]
    std_error: Float[Tensor, "replicate"]
    score_z: Float[Tensor, "replicate"]
    log_likelihood_gain: Float[Tensor, "replicate"]
    failure: Int[Tensor, "replicate"]
    low: Float[Tensor, "replicate"]
    high: Float[Tensor, "replicate"]


def _tied_rows(data: EventData) -> Int[Tensor, "row"]:
    """The replicates with tied events."""
    layout = risk_sets(data.time, data.event, data.stratum if data.n_strata > 1 else None, ties="breslow")
    if layout.first is None or layout.last is None:
        return torch.zeros(0, dtype=torch.int64, device=data.time.device)
    return (layout.last > layout.first).any(-1).nonzero()[:, 0]


def _rows(data: EventData, rows: Int[Tensor, "row"]) -> EventData:
    return dataclasses.replace(
        data,
        time=data.time[rows],
        event=data.event[rows],
        group=data.group[rows],
        stratum=None if data.stratum is None else data.stratum[rows],
        covariates=None if data.covariates is None else data.covariates[rows],
        competing=None,
    )


def _complete(data: EventData) -> EventData:
    """Without patients who have a missing covariate; events only of patients in the analysis."""
    complete = complete_cases(data.covariates)
    time = data.time if complete is None or complete.all() else torch.where(complete, data.time, -1.0)
    return dataclasses.replace(data, time=time, event=data.event & (time >= 0))


def _arm_alone(data: EventData, *, ties: Ties, test: str) -> _Fit:
    fit = cox_arm_only(data, ties=ties)
    score_z = gain = zero = torch.zeros_like(fit.estimate)
    if test != "wald":
        u, information = fit.counts.score(zero)
        score_z = u * information.rsqrt()
        gain = fit.counts.log_likelihood_gain(torch.where(fit.failure == 0, fit.estimate, zero))
    return _Fit(log_hr=fit.estimate, std_error=fit.std_error, score_z=score_z, log_likelihood_gain=gain, failure=fit.failure, low=zero, high=zero)


def _with_covariates(data: EventData, *, ties: Ties, test: str, robust: bool, quantile: float | None) -> _Fit:
    there = data.time >= 0
    risk = risk_sets(data.time, data.event, data.stratum if data.n_strata > 1 else None, ties=ties)
    present = there.gather(-1, risk.order).to(torch.float64)
    columns = [(data.group == g).to(torch.float64) for g in (*range(2, data.n_groups), 1)]
    if data.covariates is not None:
        columns = [*torch.where(there[..., None], data.covariates, 0.0).unbind(-1), *columns]
    x, sd = standardised(torch.stack([column.gather(-1, risk.order) for column in columns]), present)
    full = maximise(x, present, risk)
    failure = event_failures(data)
    failure = torch.where((failure == 0) & (full.point.pivots[-1] == 0), SINGULAR, failure)
    failure = torch.where((failure == 0) & ~full.converged, DID_NOT_CONVERGE, failure)
    error = robust_variance(full.coefficients, x, present, risk).sqrt() if robust else full.point.pivots[-1].rsqrt()
    log_hr, std_error = full.coefficients[-1] / sd[-1], error / sd[-1]
    score_z = gain = torch.zeros_like(log_hr)
    if test != "wald":
        null = maximise(x, present, risk, arm_free=False)
        failure = torch.where((failure == 0) & ~null.converged, DID_NOT_CONVERGE, failure)
        score_z = null.point.score[-1] * null.point.pivots[-1].rsqrt()
        gain = full.point.log_likelihood - null.point.log_likelihood
    low = high = torch.zeros_like(log_hr)
    if quantile is not None:
        low, high = (limit / sd[-1] for limit in profile_limits(x, present, risk, full, quantile=quantile))
        failure = torch.where((failure == 0) & (torch.isnan(low) | torch.isnan(high)), DID_NOT_CONVERGE, failure)
    return _Fit(log_hr=log_hr, std_error=std_error, score_z=score_z, log_likelihood_gain=gain, failure=failure, low=low, high=high)
