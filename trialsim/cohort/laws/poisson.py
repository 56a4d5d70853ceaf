"""Poisson covariates."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from scipy.special import pdtr
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
        reach = 10.0 * self.mean**0.5 + 40.0  # beyond it less than 2⁻⁵⁴ is left
        first, last = max(int(self.mean - reach), 0), int(self.mean + reach)
        self._table = CountTable(first, pdtr(np.arange(first, last + 1), self.mean))

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._table.steps

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._table(u)
