"""Beta covariates."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from jaxtyping import Float
from pydantic import Field, PrivateAttr, model_validator
from scipy.special import betaincinv
from torch import Tensor

from trialsim.cohort.calibration.declared_summaries import beta_of_moments, beta_of_quantiles
from trialsim.cohort.laws.law import BY_QUANTILES, CovariateLaw, Quantiles, by_scipy, wrong
from trialsim.units import PositiveNumber, Share


class Beta(CovariateLaw):
    """A share between 0 and 1 with density ∝ x^(alpha − 1) (1 − x)^(beta − 1). Support: (0, 1).

    Stated by alpha and beta, by mean and sd, or by quantiles: two give it exactly, more by least squares of their normal
    scores.

    Drawn by SciPy's inverse of the regularised incomplete beta function; CPU only.

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, chapter 25.
    """

    cpu_only: ClassVar[bool] = True
    dist: Literal["beta"] = Field(description="A beta distribution; give alpha and beta, mean and sd, or quantiles.")
    alpha: PositiveNumber | None = Field(default=None, description="The first shape.")
    beta: PositiveNumber | None = Field(default=None, description="The second shape.")
    mean: Share | None = Field(default=None, description="The mean, between 0 and 1.")
    sd: Share | None = Field(default=None, gt=0, description="The standard deviation, above 0.")
    quantiles: Quantiles | None = Field(default=None, description=BY_QUANTILES, examples=[{0.25: 0.4, 0.5: 0.55, 0.75: 0.7}])
    _shapes: tuple[float, float] = PrivateAttr()

    @model_validator(mode="after")
    def _solve(self) -> Self:
        self._exactly_one_of(("alpha", "beta"), ("mean", "sd"), ("quantiles",))
        if self.quantiles is not None:
            for key, value in self.quantiles.items():
                if value.dimension:
                    raise wrong(f"quantiles {key} is {value}; a share has no unit")
            self._shapes = beta_of_quantiles(self._plain(self.quantiles))
        elif self.mean is not None:
            self._shapes = beta_of_moments(self.mean, self.sd)  # type: ignore[arg-type]
        else:
            self._shapes = self.alpha, self.beta  # type: ignore[assignment]
        return self

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return by_scipy(lambda p: betaincinv(*self._shapes, p), u)
