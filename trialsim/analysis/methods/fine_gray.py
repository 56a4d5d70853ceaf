"""Subdistribution hazards regression: the effect of the arm on the cumulative incidence of one cause among competing ones.

The estimate is the log subdistribution hazard ratio, adjusted for covariates, with the robust standard error that counts the
estimation of the censoring weights; z = estimate / SE. With several test arms each has its own indicator in one model.
`at`: events after that time are not used. Patients with a missing covariate are left out (complete cases).

The partial likelihood's own information is not the variance here and is not offered. Strata are not handled.

**Source:** Fine & Gray 1999 (doi 10.1080/01621459.1999.10474144); see `subdistribution`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import torch
from pydantic import Field

from trialsim.analysis.analysis import Analysis, Cause, EndpointType
from trialsim.analysis.failures import DID_NOT_CONVERGE, NO_VARIANCE, SINGULAR, complete_cases, event_failures, fail
from trialsim.analysis.newton import maximise
from trialsim.analysis.subdistribution import subdistribution
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime


class FineGray(Analysis):
    """Subdistribution hazards regression; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")
    takes = EventData
    joint: ClassVar[bool] = True
    scale: ClassVar[str | None] = "subdistribution_hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_subdistribution_hazard_ratio"
    takes_covariates: ClassVar[bool] = True

    method: Literal["fine_gray"] = Field(description="Fine-Gray regression.")
    cause: Cause | None = Field(default=None, description="The outcome that is the cause of interest; in data, also its code.")
    at: PositiveTime | None = Field(default=None, description="Events after this time are not used.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log subdistribution hazard ratio of test against reference; see `Analysis.estimate`."""
        data = restricted(data, None if self.at is None else float(self.at))
        complete = complete_cases(data.covariates)
        if complete is not None:
            data = dataclasses.replace(data, time=torch.where(complete, data.time, -1.0), event=data.event & complete)
        model = subdistribution(data)
        found = maximise(model, torch.zeros(model.x.shape[:2], dtype=torch.float64, device=model.x.device))
        estimate = found.coefficients[-1]
        std_error = model.robust_variance(found.coefficients, found.factor.column(-1)).sqrt()
        failure = event_failures(data)
        failure = torch.where((failure == 0) & (found.factor.pivots[-1] == 0), SINGULAR, failure)
        failure = torch.where((failure == 0) & ~found.converged, DID_NOT_CONVERGE, failure)
        failure = torch.where((failure == 0) & ~(std_error > 0), NO_VARIANCE, failure)
        statistic, estimate, std_error = fail(failure, favours * estimate / std_error, estimate, std_error)
        there = data.time >= 0
        return Estimates(
            statistic=statistic,
            n=there.sum(-1),
            failure=failure,
            n_events=(data.event & there).sum(-1),
            estimate=estimate,
            std_error=std_error,
        )


def restricted(data: EventData, at: float | None) -> EventData:
    """Follow-up ends at a time: what happened later is censored there."""
    if at is None:
        return data
    within = data.time <= at
    competing = None if data.competing is None else data.competing & within
    return dataclasses.replace(data, time=data.time.clamp(max=at), event=data.event & within, competing=competing)
