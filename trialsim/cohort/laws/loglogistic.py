"""Log-logistic covariates."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw
from trialsim.units import PositiveNumber, Quantity


class Loglogistic(CovariateLaw):
    """A positive covariate with odds of lying below x of (x / median)^shape: x = median · (u / (1 − u))^(1 / shape). Support: x > 0.

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, section 23.11.
    """

    measures: ClassVar = ("median",)
    positive: ClassVar = ("median",)
    dist: Literal["loglogistic"] = Field(description="A log-logistic distribution.")
    median: Quantity = Field(description="The median, above 0, with the covariate's unit.")
    shape: PositiveNumber = Field(description="The shape.")

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.exp((torch.log(u) - torch.log1p(-u)) * (1.0 / self.shape)) * self.median.value
