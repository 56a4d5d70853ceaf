"""Negative binomial covariates."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from scipy.special import betainc, betaincc
from torch import Tensor

from trialsim.cohort.laws.law import CountTable, CovariateLaw
from trialsim.units import PositiveNumber


class NegativeBinomial(CovariateLaw):
    """A count with mean μ = rate and variance μ + dispersion · μ², by inverse CDF. Support: 0, 1, 2, …

    **Source:** Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, chapter 5.
    """

    dist: Literal["negative_binomial"] = Field(description="A negative binomial distribution: a count more variable than Poisson.")
    rate: PositiveNumber = Field(le=1e4, description="The mean count.")
    dispersion: PositiveNumber = Field(ge=1e-6, le=20, description="k in the variance μ + kμ².")
    _table: CountTable = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        size = 1.0 / self.dispersion
        p = size / (size + self.rate)
        last = 64
        while betaincc(size, last + 1.0, p) > 1e-17:
            last *= 2
        self._table = CountTable(0, betainc(size, np.arange(last + 1) + 1.0, p))

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._table.steps

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._table(u)
