"""Covariates with named levels."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator
from torch import Tensor

from trialsim.cohort.laws.law import CountTable, CovariateLaw, wrong
from trialsim.units import Probability, shortest


def _named(given: Any) -> Any:
    return {str(key): value for key, value in given.items()} if isinstance(given, dict) else given


class Categorical(CovariateLaw):
    """A covariate with named levels: the value is the index of the level in `probs`, in the order written.

    The level is the first whose cumulative probability reaches u, so that in a copula the levels are ordered as written.

    **Source:** Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, section 1.2.
    """

    dist: Literal["categorical"] = Field(description="Named levels with their probabilities.")
    probs: Annotated[dict[str, Probability], BeforeValidator(_named)] = Field(
        description="Level → probability; they sum to 1.", examples=[{"low": 0.4, "high": 0.6}]
    )
    _table: CountTable = PrivateAttr()

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if len(self.probs) < 2:
            raise wrong("probs needs at least two levels")
        total = math.fsum(self.probs.values())
        if abs(total - 1.0) > 1e-9:
            raise wrong(f"probs sum to {shortest(round(total, 12))}; they must sum to 1")
        cumulative = np.cumsum(list(self.probs.values())) / total
        cumulative[-1] = 1.0
        self._table = CountTable(0, cumulative)
        return self

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(self.probs)

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._table.steps

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._table(u)
