"""Weibull covariates."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, wrong
from trialsim.units import PositiveNumber, Probability, Quantity


class Weibull(CovariateLaw):
    """A positive covariate with P(X > x) = exp(−(x / scale)^shape): x = scale · (−log(1 − u))^(1 / shape). Support: x > 0.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 21.
    """

    measures: ClassVar = ("scale", "median", "by")
    positive: ClassVar = ("scale", "median", "by")
    dist: Literal["weibull"] = Field(description="A Weibull distribution; give one of scale, median, or cumulative with by.")
    shape: PositiveNumber = Field(description="The shape; 1 is exponential.")
    scale: Quantity | None = Field(default=None, description="The scale: 63.2 % lie below it.")
    median: Quantity | None = Field(default=None, description="The median.")
    cumulative: Probability | None = Field(default=None, description="The share at or below `by`, between 0 and 1.")
    by: Quantity | None = Field(default=None, description="The value that `cumulative` refers to.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        self._exactly_one("scale", "median", "cumulative")
        if (self.cumulative is None) != (self.by is None):
            raise wrong("cumulative and by go together")
        if self.cumulative is not None and not 0 < self.cumulative < 1:
            raise wrong(f"cumulative is {self.cumulative:g}; it must be between 0 and 1")
        return self

    @property
    def characteristic(self) -> float:
        """The scale."""
        if self.scale is not None:
            return self.scale.value
        if self.median is not None:
            return self.median.value / math.log(2) ** (1 / self.shape)
        return self.by.value / (-math.log1p(-self.cumulative)) ** (1 / self.shape)  # type: ignore[union-attr, operator]

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        # exp(log) and not **, whose last bit depends on an element's place in the tensor
        return torch.exp(torch.log(-torch.log1p(-u)) * (1.0 / self.shape)) * self.characteristic
