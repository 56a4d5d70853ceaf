"""Normal covariates."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw
from trialsim.units import Quantity


class Normal(CovariateLaw):
    """A normal covariate: x = mean + sd · Φ⁻¹(u). Support: the real line.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 13.
    """

    measures: ClassVar = ("mean", "sd")
    positive: ClassVar = ("sd",)
    dist: Literal["normal"] = Field(description="A normal distribution.")
    mean: Quantity = Field(description="The mean, with the covariate's unit.")
    sd: Quantity = Field(description="The standard deviation, above 0, in the same unit.")

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.from_normal_score(torch.special.ndtri(u))

    def from_normal_score(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return z * self.sd.value + self.mean.value
