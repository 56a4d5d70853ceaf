"""Trajectories that are straight lines per patient, with correlated residuals."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, PositiveNumber, Rate


class ResidualCorrelation(Part):
    """How residuals of one patient's visits hang together: exactly one of the two."""

    ar1: Number | None = Field(None, gt=-1, lt=1, description="Correlation of neighbouring visits of the protocol, falling as a power of the lag in visits.")
    compound_symmetry: Number | None = Field(None, ge=0, lt=1, description="The same correlation for all pairs of visits.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.ar1 is None) == (self.compound_symmetry is None):
            raise PydanticCustomError("corr", "corr needs exactly one of ar1 and compound_symmetry")
        return self


class Residual(Part):
    """The visit-to-visit noise of a trajectory."""

    sd: PositiveNumber = Field(description="Standard deviation of the residual.")
    corr: ResidualCorrelation | None = Field(None, description="Correlation of the residuals; independent when absent.")


class LinearMixed(OutcomeProcess):
    """The value of a patient at t days after randomisation under an arm is

        baseline + (slope + prognostic slopes) * clock(t) + b * t + prognostic shifts + difference + e(t)

    with the patient's own deviation b of standard deviation slope_sd, and residuals e of standard deviation residual.sd.
    clock(t) is t under the reference arm; under percent_slowing s with an onset it is min(t, onset) + (1 - s) * max(t -
    onset, 0): the expected decline slows, what makes a patient differ from it does not. So, given the baseline covariates,
    the covariance of two visits is slope_sd ** 2 * t * t' + sd ** 2 * corr(e, e') under every arm.

    `baseline` is a covariate, which is then the value at visits on day 0 and before, without residual, or a number, the mean
    at day 0. Residuals are correlated by their place among the protocol's visits (those on day 0 only where the baseline is a
    number). `prognosis_correlation` r: the twin's prognosis knows the patient's own slope in part: it predicts the
    deviation slope_sd * abs(r) * known of b = slope_sd * (r * known + sqrt(1 - r ** 2) * unknown), so r is the correlation of the
    predicted with the actual slope given the covariates; 0 when absent.

    **Source:** Laird & Ware 1982, Biometrics 38:963, doi 10.2307/2529876.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("percent_slowing", "difference", "shift")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("slope", "shift")

    model: Literal["linear_mixed"] = Field("linear_mixed", description="A straight line per patient.")
    baseline: str | Number = Field(description="The covariate that is the value at baseline, or its mean.")
    slope: Rate = Field(description="The mean slope under the reference arm, in the outcome's unit per time.")
    slope_sd: Rate | None = Field(None, ge=0, description="The standard deviation of the slope between patients.")
    residual: Residual | None = Field(None, description="The visit-to-visit noise.")
    prognosis_correlation: Number | None = Field(None, ge=-1, le=1, description="Correlation of the slope that the twin predicts with the patient's own.")
