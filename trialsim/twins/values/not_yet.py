"""Outcomes with values that the language has and the engine cannot run yet.

`nonlinear_mixed`, `twin_trajectory`, `pkpd`, `ode` and `joint` accept any keys: their parameters are fixed when the engine
learns to run them, and until then a protocol that uses one is refused as a whole.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trialsim.parts import Part
from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, PositiveNumber, Probability, Rate


class Bernoulli(OutcomeProcess):
    """A single yes or no."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("or", "p", "difference", "ratio")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("or",)

    dist: Literal["bernoulli"] = Field("bernoulli", description="A yes with probability p.")
    p: Probability = Field(description="The probability of a yes.")


class Ordinal(OutcomeProcess):
    """A single ordered category."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("or",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("or",)

    dist: Literal["ordinal"] = Field("ordinal", description="An ordered category; effects are proportional odds.")
    probs: dict[str, Probability] = Field(description="Category -> probability, from the lowest to the highest.")


class Poisson(OutcomeProcess):
    """A single count."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)

    dist: Literal["poisson"] = Field("poisson", description="A count with its mean as variance.")
    mean: Number = Field(ge=0, description="The mean count.")


class NegativeBinomial(OutcomeProcess):
    """A single overdispersed count."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio",)

    dist: Literal["negative_binomial"] = Field("negative_binomial", description="A count with variance mu + dispersion * mu ** 2.")
    rate: Rate | Number = Field(description="The mean number of events per unit of time, or the mean count.")
    dispersion: Number = Field(ge=0, description="k in mu + k * mu ** 2.")


class ResidualCorrelation(Part):
    """How residuals of one patient's visits hang together."""

    ar1: Number | None = Field(None, gt=-1, lt=1, description="Correlation of neighbouring visits, falling as a power of the lag.")
    compound_symmetry: Number | None = Field(None, gt=-1, lt=1, description="The same correlation for all pairs of visits.")


class Residual(Part):
    """The visit-to-visit noise of a trajectory."""

    sd: PositiveNumber = Field(description="Standard deviation of the residual.")
    corr: ResidualCorrelation | None = Field(None, description="Correlation of the residuals; independent when absent.")


class LinearMixed(OutcomeProcess):
    """A trajectory that is a straight line per patient, with correlated residuals."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("percent_slowing", "difference", "shift")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("slope", "shift")

    model: Literal["linear_mixed"] = Field("linear_mixed", description="A straight line per patient.")
    baseline: str | Number = Field(description="The covariate that is the value at baseline, or its mean.")
    slope: Rate = Field(description="The mean slope under the reference arm, in the outcome's unit per time.")
    slope_sd: Rate | None = Field(None, ge=0, description="The standard deviation of the slope between patients.")
    residual: Residual | None = Field(None, description="The visit-to-visit noise.")
    prognosis_correlation: Number | None = Field(None, ge=-1, le=1, description="Correlation of the twin's prognosis with the outcome.")


class _OpenModel(OutcomeProcess):
    """A model whose keys are not fixed yet."""

    model_config = ConfigDict(extra="allow")
    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("percent_slowing", "difference", "shift", "ratio", "hr", "acceleration")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("slope", "shift", "hr")


class NonlinearMixed(_OpenModel):
    """A nonlinear trajectory per patient (Emax, Gompertz, bounded)."""

    model: Literal["nonlinear_mixed"] = Field("nonlinear_mixed", description="A nonlinear trajectory per patient: Emax, Gompertz or bounded.")


class TwinTrajectory(_OpenModel):
    """The trajectory that a trained digital twin predicts."""

    model: Literal["twin_trajectory"] = Field("twin_trajectory", description="The trajectory of a trained digital twin.")


class PharmacokineticPharmacodynamic(_OpenModel):
    """Dose to concentration to effect."""

    model: Literal["pkpd"] = Field("pkpd", description="Pharmacokinetics and pharmacodynamics.")


class OrdinaryDifferentialEquation(_OpenModel):
    """A mechanistic model."""

    model: Literal["ode"] = Field("ode", description="A mechanistic model, as ordinary differential equations.")


class Joint(_OpenModel):
    """A hazard driven by a trajectory."""

    model: Literal["joint"] = Field("joint", description="A hazard driven by a longitudinal trajectory.")
