"""Poisson regression of a count on the arm and covariates: the rate ratio.

    log E y = log exposure + b0 + covariates + b arm;   estimate b, SE from the information, or the sandwich (`robust`).

Overdispersion makes the information too large: `robust` holds whatever the variance of the counts. With `marginal: true`
the effect is that of g-computation, as a ratio or a difference of rates per unit of exposure (per day; per patient where
there is no exposure), always with the robust standard error; under the log link the marginal ratio equals the conditional
one. Several test arms are levels of one model. Patients with a missing value or covariate, or without exposure, are left out.

Fails without an event, or without one in either arm.

**Source:** Zou 2004 (doi 10.1093/aje/kwh090) for the sandwich; see `linear_predictor` and `standardisation`.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Int
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import DID_NOT_CONVERGE, NO_EVENTS, NO_EVENTS_IN_AN_ARM, NO_PATIENTS, SINGULAR, fail
from trialsim.analysis.linear_predictor import Design, Fit, Log, design_of, maximise
from trialsim.analysis.standardisation import marginal_effect
from trialsim.records import Estimates, ValueData


class CountRegression(Analysis):
    """What Poisson and negative-binomial regression share: a log link, an exposure, conditional or marginal rates."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("count",)
    takes = ValueData
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    exposure: str | None = Field(default=None, description="The column of time at risk; left out, follow-up time.")
    marginal: bool = Field(default=False, description="Marginal effect by g-computation, with a robust standard error.")
    measure: Literal["ratio", "difference"] = Field(default="ratio", description="Ratio of rates, or with `marginal` their difference per unit of exposure.")

    @model_validator(mode="after")
    def _conditional_effects_are_ratios(self) -> Self:
        if self.measure == "difference" and not self.marginal:
            raise ValueError("measure: difference of a rate needs marginal: true")
        return self

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The natural scale of the estimate."""
        return "rate_ratio" if self.measure == "ratio" else "rate_difference"

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """The scale of inference."""
        return "log_rate_ratio" if self.measure == "ratio" else "rate_difference"


def poisson_fit(design: Design) -> Fit:
    """The maximum of the Poisson likelihood."""
    exposure = design.there if design.offset is None else torch.exp(design.offset) * design.there
    return maximise(Log(), design, torch.log(design.y.sum(-1) / exposure.sum(-1)))


def count_failures(design: Design, fit: Fit, converged: Bool[Tensor, "replicate"]) -> Int[Tensor, "replicate"]:
    """Why a rate ratio does not exist."""
    total, test, reference = design.y.sum(-1), design.total_of(1), design.total_of(0)
    failure = torch.zeros(len(total), dtype=torch.int8, device=total.device)
    failure = torch.where(fit.singular, SINGULAR, failure)
    failure = torch.where(converged, failure, DID_NOT_CONVERGE)
    failure = torch.where((test == 0) | (reference == 0), NO_EVENTS_IN_AN_ARM, failure)
    failure = torch.where(total == 0, NO_EVENTS, failure)
    return torch.where((design.n_of(1) == 0) | (design.n_of(0) == 0), NO_PATIENTS, failure)


class Poisson(CountRegression):
    """Poisson regression of a count; see the module."""

    method: Literal["poisson"] = Field(description="Poisson regression.")
    robust: bool = Field(default=False, description="Sandwich standard error, which does not need the variance to equal the mean.")

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log rate ratio, or the marginal effect; see `Analysis.estimate`."""
        design = design_of(data)
        fit = poisson_fit(design)
        if self.marginal:
            estimate, std_error = marginal_effect(Log(), design, fit, measure=self.measure, robust=True)
        else:
            estimate = fit.coefficients[-1]
            std_error = (fit.robust_variance(design.x) if self.robust else fit.variance).sqrt()
        failure = count_failures(design, fit, fit.converged)
        estimate, std_error = fail(failure, estimate, std_error)
        return Estimates(
            statistic=favours * estimate / std_error,
            n=design.n.to(torch.int64),
            failure=failure,
            n_events=design.y.sum(-1).to(torch.int64),
            estimate=estimate,
            std_error=std_error,
        )
