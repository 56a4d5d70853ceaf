"""Lognormal covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from trialsim.cohort.calibration.declared_summaries import lognormal_of_moments, lognormal_of_quantiles
from trialsim.cohort.laws.law import BY_QUANTILES, CovariateLaw, Quantiles
from trialsim.units import PositiveNumber, Quantity


class Lognormal(CovariateLaw):
    """A covariate whose logarithm is normal: x = median · exp(sd_log · Φ⁻¹(u)). Support: x > 0.

    Stated by median and sd_log, by the mean and sd of the values themselves, or by quantiles: two give it exactly, more by
    least squares of their normal scores.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 14.
    """

    measures: ClassVar = ("median", "mean", "sd", "quantiles")
    positive: ClassVar = ("median", "mean", "sd", "quantiles")
    dist: Literal["lognormal"] = Field(description="A lognormal distribution; give median and sd_log, mean and sd, or quantiles.")
    median: Quantity | None = Field(default=None, description="The median, above 0, with the covariate's unit.")
    sd_log: PositiveNumber | None = Field(default=None, description="The standard deviation of the natural logarithm.")
    mean: Quantity | None = Field(default=None, description="The mean of the values, above 0.")
    sd: Quantity | None = Field(default=None, description="The standard deviation of the values, above 0.")
    quantiles: Quantiles | None = Field(default=None, description=BY_QUANTILES, examples=[{0.25: 12, 0.5: 20, 0.75: 35}])
    _median_sd_log: tuple[float, float] = PrivateAttr()

    @model_validator(mode="after")
    def _solve(self) -> Self:
        self._exactly_one_of(("median", "sd_log"), ("mean", "sd"), ("quantiles",))
        if self.quantiles is not None:
            self._median_sd_log = lognormal_of_quantiles(self._plain(self.quantiles))
        elif self.mean is not None:
            self._median_sd_log = lognormal_of_moments(self.mean.value, self.sd.value)  # type: ignore[union-attr]
        else:
            self._median_sd_log = self.median.value, self.sd_log  # type: ignore[union-attr, assignment]
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.from_normal_score(torch.special.ndtri(u))

    def from_normal_score(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        median, sd_log = self._median_sd_log
        return torch.exp(z * sd_log) * median
