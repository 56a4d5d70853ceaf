"""Normal covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from trialsim.cohort.calibration.declared_summaries import normal_of_quantiles
from trialsim.cohort.laws.law import BY_QUANTILES, CovariateLaw, Quantiles
from trialsim.units import Quantity


class Normal(CovariateLaw):
    """A normal covariate: x = mean + sd · Φ⁻¹(u). Support: the real line.

    Stated by mean and sd, or by quantiles: two give it exactly, more by least squares of their normal scores.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 13.
    """

    measures: ClassVar = ("mean", "sd", "quantiles")
    positive: ClassVar = ("sd",)
    dist: Literal["normal"] = Field(description="A normal distribution; give mean and sd, or quantiles.")
    mean: Quantity | None = Field(default=None, description="The mean, with the covariate's unit.")
    sd: Quantity | None = Field(default=None, description="The standard deviation, above 0, in the same unit.")
    quantiles: Quantiles | None = Field(default=None, description=BY_QUANTILES, examples=[{0.25: 54, 0.5: 63, 0.75: 71}])
    _mean_sd: tuple[float, float] = PrivateAttr()

    @model_validator(mode="after")
    def _solve(self) -> Self:
        self._exactly_one_of(("mean", "sd"), ("quantiles",))
        if self.quantiles is not None:
            self._mean_sd = normal_of_quantiles(self._plain(self.quantiles))
        else:
            self._mean_sd = self.mean.value, self.sd.value  # type: ignore[union-attr]
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.from_normal_score(torch.special.ndtri(u))

    def from_normal_score(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        mean, sd = self._mean_sd
        return z * sd + mean
