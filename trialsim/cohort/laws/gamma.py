"""Gamma covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.special import gammaincinv
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, by_scipy
from trialsim.units import PositiveNumber, Quantity


class Gamma(CovariateLaw):
    """A positive covariate with density ∝ x^(shape − 1) exp(−rate · x); mean = shape / rate. Support: x > 0.

    Drawn by SciPy's inverse of the regularised incomplete gamma function; CPU only.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 17.
    """

    measures: ClassVar = ("mean",)
    per_measure: ClassVar = ("rate",)
    positive: ClassVar = ("mean", "rate")
    cpu_only: ClassVar[bool] = True
    dist: Literal["gamma"] = Field(description="A gamma distribution; give one of rate and mean.")
    shape: PositiveNumber = Field(description="The shape.")
    rate: Quantity | None = Field(default=None, description="The rate (1 over the scale).")
    mean: Quantity | None = Field(default=None, description="The mean, with the covariate's unit.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        self._exactly_one("rate", "mean")
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        unit = self.mean.value / self.shape if self.mean is not None else 1.0 / self.rate.value  # type: ignore[union-attr]
        return by_scipy(lambda p: gammaincinv(self.shape, p) * unit, u)
