"""Prognostic covariates: how a patient's baseline moves an outcome under every arm.

The linear predictor of a patient is the sum over covariates of

    beta * (x - center) / per          a number
    beta * 1[x = level]                one category

where beta is log(hr), log(or), log(rate_ratio), slope or shift. It is 0 at the centre and at the other levels, so the
law's own parameters are those of a patient at the centre of every covariate. A missing covariate contributes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Self

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.parts import Part
from trialsim.records import Cohort
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
        if self.slope is not None and self.slope.dimension != "rate":
            raise PydanticCustomError("prognostic", "{text}", {"text": f"slope needs a unit (per time, for example {self.slope} / year); {self.slope} given"})
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


class LinearPredictor:
    """The sum of a process's prognostic terms, ready to be evaluated on cohorts.

    `levels` are those of the cohort's categorical covariates; a `level` of a numeric covariate is the number it spells.
    """

    def __init__(self, prognostic: Mapping[str, Prognostic], levels: Mapping[str, tuple[str, ...]]):
        self._terms: list[tuple[str, float, float, float | None]] = []
        for name, effect in prognostic.items():
            if effect.level is None:
                per = 1.0 if effect.per is None else effect.per.value
                self._terms.append((name, effect.coefficient / per, 0.0 if effect.center is None else effect.center.value, None))
            else:
                code = levels[name].index(effect.level) if name in levels else float(effect.level)
                self._terms.append((name, effect.coefficient, 0.0, float(code)))

    def __bool__(self) -> bool:
        """Whether any covariate moves the outcome."""
        return any(coefficient != 0.0 for _, coefficient, _, _ in self._terms)

    def __call__(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"] | None:
        """The linear predictor of every patient, a new tensor; None where it is zero for everyone."""
        total: Tensor | None = None
        for name, coefficient, center, code in self._terms:
            if coefficient == 0.0:
                continue
            assert cohort is not None
            column = cohort.columns[name].contiguous()
            term = torch.nan_to_num((column - center).mul_(coefficient)) if code is None else (column == code).double().mul_(coefficient)
            total = term if total is None else total.add_(term)
        return total
