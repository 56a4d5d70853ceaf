"""Uniform covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, wrong
from trialsim.units import Quantity


class Uniform(CovariateLaw):
    """A covariate equally likely anywhere between two ends: x = low + (high − low) · u. Support: (low, high).

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, chapter 26.
    """

    measures: ClassVar = ("low", "high")
    dist: Literal["uniform"] = Field(description="A uniform distribution.")
    low: Quantity = Field(description="The lower end, with the covariate's unit.")
    high: Quantity = Field(description="The upper end, above low.")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.low.value >= self.high.value:
            raise wrong(f"low is {self.low} and high is {self.high}; low must be below high")
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return u * (self.high.value - self.low.value) + self.low.value
