"""Methods the language has and the engine cannot run yet: their options, so that a protocol validates and `run` refuses.

A method leaves this file for one of its own when it gets its kernel.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.parts import Part
from trialsim.units import Number, PositiveNumber, PositiveTime, Probability, Quantity

Transform = Literal["log_log", "log", "plain"]


class PlannedMethod(Analysis):
    """A method without a kernel."""

    supported: ClassVar[bool] = False


class _EventMethod(PlannedMethod):
    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")


class Rmst(_EventMethod):
    """Difference in restricted mean survival time."""

    method: Literal["rmst"] = Field(description="Restricted mean survival time.")
    tau: PositiveTime | None = Field(default=None, description="The restriction time; left out, the smaller of the arms' longest follow-up times.")


class Milestone(_EventMethod):
    """Difference in survival at a time."""

    method: Literal["milestone"] = Field(description="Survival at a milestone.")
    at: PositiveTime = Field(description="The milestone.")
    transform: Transform = Field(default="log_log", description="Scale of the interval.")


class MedianSurvival(_EventMethod):
    """Difference in median survival."""

    method: Literal["median_survival"] = Field(description="Median survival.")
    at: PositiveTime | None = Field(default=None, description="Where the density is estimated, if not at the median.")
    transform: Transform = Field(default="log_log", description="Scale of the interval.")


class AverageHazardRatio(_EventMethod):
    """Average hazard ratio up to a time."""

    method: Literal["average_hazard_ratio"] = Field(description="Average hazard ratio.")
    tau: PositiveTime | None = Field(default=None, description="Up to which time.")


class Lwyy(PlannedMethod):
    """Rate ratio of recurrent events with a robust variance (Lin, Wei, Yang, Ying 2000)."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "count")
    takes_covariates: ClassVar[bool] = True
    takes_strata: ClassVar[bool] = True
    method: Literal["lwyy"] = Field(description="Recurrent events, robust.")
    id: str | None = Field(default=None, description="The column that names the patient in data.")


class Success(Part):
    """Success when P(effect better than `margin` | data) reaches `posterior_probability`."""

    posterior_probability: Probability = Field(description="The threshold.")
    margin: Number = Field(default=0.0, description="Effect that must be exceeded, on the scale of inference.")


class Equivalence(Part):
    """Equivalence when P(|effect| < `difference` | data) reaches `posterior_probability`."""

    posterior_probability: Probability = Field(description="The threshold.")
    difference: PositiveNumber = Field(description="Effects smaller than this are equivalent.")


class Bayesian(PlannedMethod):
    """Conjugate Bayesian comparison of two arms."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "continuous", "binary")
    method: Literal["bayesian"] = Field(description="Posterior of the effect.")
    model: Literal["normal", "beta_binomial", "gamma_exponential", "log_hr"] = Field(default="normal", description="Conjugate model.")
    prior: dict[str, Quantity] | None = Field(default=None, description="Parameters of the prior, by name.")
    success: Success | None = Field(default=None, description="When the trial has succeeded.")
    equivalence: Equivalence | None = Field(default=None, description="When the arms are equivalent.")


NOT_YET: tuple[type[PlannedMethod], ...] = (
    Rmst,
    Milestone,
    MedianSurvival,
    AverageHazardRatio,
    Lwyy,
    Bayesian,
)
