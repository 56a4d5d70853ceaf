"""Proportional hazards regression by partial likelihood: the arm, covariates beside it, strata with their own baseline.

The estimate is the log hazard ratio of test against reference with its standard error from the observed information at
the maximum, or (`robust`) from the sandwich of score residuals. `test: wald` is b/se; `score` is U/√I at b = 0 and `likelihood_ratio` the signed root of
2 (log L(b) - log L(0)), both with the covariates' coefficients at their maximum under b = 0. Tied times by Efron's or
Breslow's method. Patients with a missing covariate are left out (complete cases).

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
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.arm_hazard_ratio import arm_counts, cox_arm_only, score_at_log_hr
from trialsim.analysis.failures import DID_NOT_CONVERGE, SINGULAR, complete_cases, event_failures, fail
from trialsim.analysis.partial_likelihood import maximise, robust_variance, standardised
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

    method: Literal["cox"] = Field(description="Cox proportional hazards regression.")
    ties: Literal["efron", "breslow", "exact"] = Field(default="efron", description="How tied event times enter the partial likelihood.")
    robust: bool = Field(default=False, description="Sandwich standard error, which does not need proportional hazards.")
    test: Literal["wald", "score", "likelihood_ratio"] = Field(default="wald", description="Which test of the arm is reported.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.ties == "exact":
            yield "ties: exact of cox"
        if self.robust and self.test != "wald":
            yield f"robust: true with test: {self.test} of cox"
        if self.type != "superiority" and self.test != "wald":
            yield f"type: {self.type} with test: {self.test} of cox (logrank has the score test)"

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log hazard ratio, its standard error and the test; see `Analysis.estimate`."""
        assert self.ties != "exact", "exact ties have no kernel"
        data = _complete(data)
        if data.covariates is None and not self.robust:
            fit = _arm_alone(data, ties=self.ties, test=self.test)
        else:
            fit = _with_covariates(data, ties=self.ties, test=self.test, robust=self.robust)
        if self.test == "wald":
            statistic = fit.log_hr / fit.std_error
        elif self.test == "score":
            statistic = fit.score_z
        else:
            statistic = torch.sign(fit.log_hr) * (2.0 * fit.log_likelihood_gain).clamp(min=0.0).sqrt()
        estimate, std_error, statistic = fail(fit.failure, fit.log_hr, fit.std_error, favours * statistic)
        there = data.time >= 0
        return Estimates(
            statistic=statistic,
            n=there.sum(-1),
            failure=fit.failure,
            n_events=(data.event & there).sum(-1),
            estimate=estimate,
            std_error=std_error,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Fit:
    log_hr: Float[Tensor, "replicate"]
    std_error: Float[Tensor, "replicate"]
    score_z: Float[Tensor, "replicate"]
    log_likelihood_gain: Float[Tensor, "replicate"]
    failure: Int[Tensor, "replicate"]


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
    return _Fit(log_hr=fit.estimate, std_error=fit.std_error, score_z=score_z, log_likelihood_gain=gain, failure=fit.failure)


def _with_covariates(data: EventData, *, ties: Ties, test: str, robust: bool) -> _Fit:
    there = data.time >= 0
    risk = risk_sets(data.time, data.event, data.stratum if data.n_strata > 1 else None, ties=ties)
    present = there.gather(-1, risk.order).to(torch.float64)
    columns = [data.group.to(torch.float64)]
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
    return _Fit(log_hr=log_hr, std_error=std_error, score_z=score_z, log_likelihood_gain=gain, failure=failure)
