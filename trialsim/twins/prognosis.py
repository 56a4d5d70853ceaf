"""Prognostic covariates: how a patient's baseline moves an outcome under every arm.

The linear predictor of a patient is the sum over covariates of

    beta * (x - center) / per          a number
    beta * 1[x = level]                one category

where beta is log(hr), log(or), log(rate_ratio), slope or shift. It is 0 at the centre and at the other levels, so the
law's own parameters are those of a patient at the centre of every covariate. A missing covariate contributes nothing.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.twins.parametrisation import listed
from trialsim.units import Number, PositiveNumber, Quantity

KINDS = ("hr", "or", "rate_ratio", "slope", "shift")


def level_name(given: object) -> object:
    """A level as text: `1` and `"1"` are the same category."""
    return given if isinstance(given, str) or given is None or isinstance(given, bool) else f"{given:g}" if isinstance(given, int | float) else given


LevelName = Annotated[str, BeforeValidator(level_name)]


class Prognostic(Part):
    """One covariate's prognostic effect: exactly one of hr, or, rate_ratio, slope, shift."""

    hr: PositiveNumber | None = Field(None, description="Hazard ratio per `per` of the covariate, or of the category `level`.")
    odds_ratio: PositiveNumber | None = Field(None, alias="or", description="Odds ratio per `per`, or of the category `level`.")
    rate_ratio: PositiveNumber | None = Field(None, description="Rate ratio per `per`, or of the category `level`.")
    slope: Quantity | None = Field(None, description="Change of the outcome's slope, in its unit per time (`0.3 / year`).")
    shift: Number | None = Field(None, description="Change of the outcome, in its own unit, per `per` or of the category `level`.")
    per: Quantity | None = Field(None, description="The difference in the covariate that the effect is for (default 1 in its unit).")
    center: Quantity | None = Field(None, description="The value of the covariate at which the outcome's parameters hold (default 0).")
    level: LevelName | None = Field(None, description="The category of the covariate that has the effect; the other categories have none.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in KINDS if getattr(self, "odds_ratio" if key == "or" else key) is not None]
        if len(given) != 1:
            said = f"{listed(given)} given" if given else "none given"
            raise PydanticCustomError("prognostic", "{text}", {"text": f"a prognostic covariate needs exactly one of {listed(KINDS, 'or')}; {said}"})
        if self.level is not None and (self.per is not None or self.center is not None):
            raise PydanticCustomError("prognostic", "{text}", {"text": "level is for one category; per and center are for a number: give one or the other"})
        if self.per is not None and self.per.value <= 0:
            raise PydanticCustomError("prognostic", "{text}", {"text": f"per must be positive; {self.per} given"})
        return self

    @property
    def kind(self) -> str:
        """Which of hr, or, rate_ratio, slope, shift is given."""
        return next(key for key in KINDS if getattr(self, "odds_ratio" if key == "or" else key) is not None)

    @property
    def coefficient(self) -> float:
        """beta, on the scale of the linear predictor: the log of a ratio, a shift or slope as it is."""
        value = getattr(self, "odds_ratio" if self.kind == "or" else self.kind)
        if isinstance(value, Quantity):
            return value.value
        return math.log(value) if self.kind in ("hr", "or", "rate_ratio") else float(value)
