"""Gamma covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float
from pydantic import Field, PrivateAttr, model_validator
from scipy.special import gammaincinv
from torch import Tensor

from trialsim.cohort.calibration.declared_summaries import gamma_of_moments, gamma_of_quantiles
from trialsim.cohort.laws.law import BY_QUANTILES, CovariateLaw, Quantiles, by_scipy
from trialsim.units import PositiveNumber, Quantity


class Gamma(CovariateLaw):
    """A positive covariate with density ∝ x^(shape − 1) exp(−rate · x); mean = shape / rate. Support: x > 0.

    Stated by shape and rate or mean, by mean and sd, or by quantiles: two give it exactly, more by least squares of their
    normal scores.

    Drawn by SciPy's inverse of the regularised incomplete gamma function; CPU only.

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 17.
    """

    measures: ClassVar = ("mean", "sd", "quantiles")
    per_measure: ClassVar = ("rate",)
    positive: ClassVar = ("mean", "sd", "rate", "quantiles")
    cpu_only: ClassVar[bool] = True
    dist: Literal["gamma"] = Field(description="A gamma distribution; give shape and one of rate and mean; or mean and sd; or quantiles.")
    shape: PositiveNumber | None = Field(default=None, description="The shape.")
    rate: Quantity | None = Field(default=None, description="The rate (1 over the scale).")
    mean: Quantity | None = Field(default=None, description="The mean, with the covariate's unit.")
    sd: Quantity | None = Field(default=None, description="The standard deviation, above 0; with mean, instead of shape.")
    quantiles: Quantiles | None = Field(default=None, description=BY_QUANTILES, examples=[{0.25: 12, 0.5: 20, 0.75: 35}])
    _shape_unit: tuple[float, float] = PrivateAttr()

    @model_validator(mode="after")
    def _solve(self) -> Self:
        self._exactly_one_of(("shape", "rate"), ("shape", "mean"), ("mean", "sd"), ("quantiles",))
        if self.quantiles is not None:
            shape, rate = gamma_of_quantiles(self._plain(self.quantiles))
            self._shape_unit = shape, 1.0 / rate
        elif self.sd is not None:
            shape, rate = gamma_of_moments(self.mean.value, self.sd.value)  # type: ignore[union-attr]
            self._shape_unit = shape, 1.0 / rate
        elif self.shape is not None:
            self._shape_unit = self.shape, self.mean.value / self.shape if self.mean is not None else 1.0 / self.rate.value  # type: ignore[union-attr]
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        shape, unit = self._shape_unit
        return by_scipy(lambda p: np.asarray(gammaincinv(shape, p) * unit), u)
