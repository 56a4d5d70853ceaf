"""Beta covariates."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from scipy.special import betaincinv
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw, by_scipy
from trialsim.units import PositiveNumber


class Beta(CovariateLaw):
    """A share between 0 and 1 with density ∝ x^(alpha − 1) (1 − x)^(beta − 1). Support: (0, 1).

    Drawn by SciPy's inverse of the regularised incomplete beta function; CPU only.

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, chapter 25.
    """

    cpu_only: ClassVar[bool] = True
    dist: Literal["beta"] = Field(description="A beta distribution.")
    alpha: PositiveNumber = Field(description="The first shape.")
    beta: PositiveNumber = Field(description="The second shape.")

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return by_scipy(lambda p: betaincinv(self.alpha, self.beta, p), u)
