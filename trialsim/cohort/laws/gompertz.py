"""Gompertz covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, wrong
from trialsim.units import Quantity


class Gompertz(CovariateLaw):
    """A positive covariate with hazard rate · exp(shape · x): x = log(1 − shape · log(1 − u) / rate) / shape. Support: x > 0.

    `shape` is positive here: with a negative one part of the patients have no finite value.

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, section 22.8.
    """

    per_measure: ClassVar = ("shape", "rate")
    positive: ClassVar = ("shape", "rate")
    dist: Literal["gompertz"] = Field(description="A Gompertz distribution.")
    shape: Quantity = Field(description="The growth of the log hazard per unit, above 0.")
    rate: Quantity = Field(description="The hazard at 0.")

    @model_validator(mode="after")
    def _bare_or_time(self) -> Self:
        if self.shape.dimension != self.rate.dimension:
            raise wrong(f"shape is {self.shape} and rate is {self.rate}; both must have the same unit")
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        shape, rate = self.shape.value, self.rate.value
        return torch.log1p(torch.log1p(-u) * (-shape / rate)) / shape
