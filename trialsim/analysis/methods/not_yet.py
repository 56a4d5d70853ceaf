"""Methods the language has and the engine cannot run yet: their options, so that a protocol validates and `run` refuses.

A method leaves this file for one of its own when it gets its kernel.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.parts import Part
from trialsim.units import Number, PositiveNumber, Probability, Quantity


class PlannedMethod(Analysis):
    """A method without a kernel."""

    supported: ClassVar[bool] = False


class _EventMethod(PlannedMethod):
    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")


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


NOT_YET: tuple[type[PlannedMethod], ...] = (Bayesian,)
