"""Normal covariates cut at one or both ends."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.special import ndtr
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, wrong
from trialsim.units import Quantity


class TruncatedNormal(CovariateLaw):
    """A normal covariate given low ≤ x ≤ high: x = mean + sd · Φ⁻¹((1 − u) Φ(a) + u Φ(b)), a and b the standardised ends.

    Where both ends lie above the mean the mirror image is used, so that the upper tail keeps its digits. `mean` and
    `sd` are those of the untruncated normal. Support: [low, high].

    **Source:** Robert 1995, Statistics and Computing 5:121, doi 10.1007/BF00143942 (section 2.1, inverse CDF).
    """

    measures: ClassVar = ("mean", "sd", "low", "high")
    positive: ClassVar = ("sd",)
    dist: Literal["truncated_normal"] = Field(description="A normal distribution cut at low and high.")
    mean: Quantity = Field(description="The mean of the untruncated normal, with the covariate's unit.")
    sd: Quantity = Field(description="The standard deviation of the untruncated normal, above 0.")
    low: Quantity | None = Field(default=None, description="The smallest possible value; absent: unbounded below.")
    high: Quantity | None = Field(default=None, description="The largest possible value; absent: unbounded above.")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.low is not None and self.high is not None and self.low.value >= self.high.value:
            raise wrong(f"low is {self.low} and high is {self.high}; low must be below high")
        a, b = self._standardised()
        if (ndtr(-a) - ndtr(-b) if a > 0 else ndtr(b) - ndtr(a)) < 1e-250:
            raise wrong("low and high leave no probability under this mean and sd")
        return self

    def _standardised(self) -> tuple[float, float]:
        a = -float("inf") if self.low is None else (self.low.value - self.mean.value) / self.sd.value
        b = float("inf") if self.high is None else (self.high.value - self.mean.value) / self.sd.value
        return a, b

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        a, b = self._standardised()
        if a > 0:
            z = -torch.special.ndtri((1.0 - u) * float(ndtr(-a)) + u * float(ndtr(-b)))
        else:
            z = torch.special.ndtri((1.0 - u) * float(ndtr(a)) + u * float(ndtr(b)))
        x = z * self.sd.value + self.mean.value
        low = None if self.low is None else self.low.value
        high = None if self.high is None else self.high.value
        return x if low is None and high is None else x.clamp(min=low, max=high)
