"""Exponential covariates."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, wrong
from trialsim.units import Probability, Quantity


class Exponential(CovariateLaw):
    """A positive covariate with constant hazard: x = −log(1 − u) / rate. Support: x > 0.

    `cumulative` with `by` is the share at or below `by`.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 19.
    """

    measures: ClassVar = ("mean", "median", "by")
    per_measure: ClassVar = ("rate",)
    positive: ClassVar = ("rate", "mean", "median", "by")
    dist: Literal["exponential"] = Field(description="An exponential distribution; give one of rate, mean, median, or cumulative with by.")
    rate: Quantity | None = Field(default=None, description="The rate.")
    mean: Quantity | None = Field(default=None, description="The mean.")
    median: Quantity | None = Field(default=None, description="The median.")
    cumulative: Probability | None = Field(default=None, description="The share at or below `by`, between 0 and 1.")
    by: Quantity | None = Field(default=None, description="The value that `cumulative` refers to.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        self._exactly_one("rate", "mean", "median", "cumulative")
        if (self.cumulative is None) != (self.by is None):
            raise wrong("cumulative and by go together")
        if self.cumulative is not None and not 0 < self.cumulative < 1:
            raise wrong(f"cumulative is {self.cumulative:g}; it must be between 0 and 1")
        return self

    @property
    def average(self) -> float:
        """The mean."""
        if self.rate is not None:
            return 1.0 / self.rate.value
        if self.mean is not None:
            return self.mean.value
        if self.median is not None:
            return self.median.value / math.log(2)
        return self.by.value / -math.log1p(-self.cumulative)  # type: ignore[union-attr, operator]

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.log1p(-u) * -self.average
