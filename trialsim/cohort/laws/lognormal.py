"""Lognormal covariates."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw
from trialsim.units import PositiveNumber, Quantity


class Lognormal(CovariateLaw):
    """A covariate whose logarithm is normal: x = median · exp(sd_log · Φ⁻¹(u)). Support: x > 0.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 14.
    """

    measures: ClassVar = ("median",)
    positive: ClassVar = ("median",)
    dist: Literal["lognormal"] = Field(description="A lognormal distribution.")
    median: Quantity = Field(description="The median, above 0, with the covariate's unit.")
    sd_log: PositiveNumber = Field(description="The standard deviation of the natural logarithm.")

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.from_normal_score(torch.special.ndtri(u))

    def from_normal_score(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.exp(z * self.sd_log) * self.median.value
