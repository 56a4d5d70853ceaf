"""Normal covariates cut at one or both ends."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, PrivateAttr, model_validator
from scipy.special import ndtr
from torch import Tensor

from trialsim.cohort.calibration.declared_summaries import truncated_normal_of_moments, truncated_normal_of_quantiles
from trialsim.cohort.laws.law import BY_QUANTILES, CovariateLaw, Quantiles, wrong
from trialsim.units import Quantity


class TruncatedNormal(CovariateLaw):
    """A normal covariate given low ≤ x ≤ high: x = mean + sd · Φ⁻¹((1 − u) Φ(a) + u Φ(b)), a and b the standardised ends.

    Where both ends lie above the mean the mirror image is used, so that the upper tail keeps its digits. `mean` and
    `sd` are those of the untruncated normal; `truncated_mean` and `truncated_sd`, which a paper prints, those of the values;
    or quantiles of the values: two give it exactly, more by least squares of their normal scores. Support: [low, high].

    **Source:** Robert 1995, Statistics and Computing 5:121, doi 10.1007/BF00143942 (section 2.1, inverse CDF).
    """

    measures: ClassVar = ("mean", "sd", "low", "high", "truncated_mean", "truncated_sd", "quantiles")
    positive: ClassVar = ("sd", "truncated_sd")
    dist: Literal["truncated_normal"] = Field(
        description="A normal distribution cut at low and high; give mean and sd, truncated_mean and truncated_sd, or quantiles."
    )
    mean: Quantity | None = Field(default=None, description="The mean of the untruncated normal, with the covariate's unit.")
    sd: Quantity | None = Field(default=None, description="The standard deviation of the untruncated normal, above 0.")
    low: Quantity | None = Field(default=None, description="The smallest possible value; absent: unbounded below.")
    high: Quantity | None = Field(default=None, description="The largest possible value; absent: unbounded above.")
    truncated_mean: Quantity | None = Field(default=None, description="The mean of the values, after truncation.")
    truncated_sd: Quantity | None = Field(default=None, description="The standard deviation of the values, after truncation.")
    quantiles: Quantiles | None = Field(default=None, description=BY_QUANTILES, examples=[{0.25: 54, 0.5: 63, 0.75: 71}])
    _mean_sd: tuple[float, float] = PrivateAttr()

    @model_validator(mode="after")
    def _solve(self) -> Self:
        self._exactly_one_of(("mean", "sd"), ("truncated_mean", "truncated_sd"), ("quantiles",))
        if self.low is not None and self.high is not None and self.low.value >= self.high.value:
            raise wrong(f"low is {self.low} and high is {self.high}; low must be below high")
        ends = (-float("inf") if self.low is None else self.low.value, float("inf") if self.high is None else self.high.value)
        if self.quantiles is not None:
            self._mean_sd = truncated_normal_of_quantiles(self._plain(self.quantiles), *ends)
        elif self.truncated_mean is not None:
            self._mean_sd = truncated_normal_of_moments(self.truncated_mean.value, self.truncated_sd.value, *ends)  # type: ignore[union-attr]
        else:
            self._mean_sd = self.mean.value, self.sd.value  # type: ignore[union-attr]
        a, b = self._standardised()
        if (ndtr(-a) - ndtr(-b) if a > 0 else ndtr(b) - ndtr(a)) < 1e-250:
            raise wrong("low and high leave no probability under this mean and sd")
        return self

    def _standardised(self) -> tuple[float, float]:
        mean, sd = self._mean_sd
        a = -float("inf") if self.low is None else (self.low.value - mean) / sd
        b = float("inf") if self.high is None else (self.high.value - mean) / sd
        return a, b

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        mean, sd = self._mean_sd
        a, b = self._standardised()
        if a > 0:
            z = -torch.special.ndtri((1.0 - u) * float(ndtr(-a)) + u * float(ndtr(-b)))
        else:
            z = torch.special.ndtri((1.0 - u) * float(ndtr(a)) + u * float(ndtr(b)))
        x = z * sd + mean
        low = None if self.low is None else self.low.value
        high = None if self.high is None else self.high.value
        return x if low is None and high is None else x.clamp(min=low, max=high)
