"""Poisson covariates."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, PrivateAttr
from scipy.stats import poisson
from torch import Tensor

from trialsim.cohort.laws.law import CountTable, CovariateLaw
from trialsim.units import PositiveNumber


class Poisson(CovariateLaw):
    """A count with variance equal to its mean, by inverse CDF. Support: 0, 1, 2, …

    **Source:** Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, chapter 4.
    """

    dist: Literal["poisson"] = Field(description="A Poisson distribution.")
    mean: PositiveNumber = Field(le=1e8, description="The mean.")
    _table: CountTable = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        first, last = int(poisson.ppf(1e-17, self.mean)), int(poisson.isf(1e-17, self.mean))
        first = max(first, 0)
        self._table = CountTable(first, poisson.cdf(np.arange(first, last + 1), self.mean))

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._table(u)
