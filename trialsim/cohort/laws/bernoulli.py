"""Yes-or-no covariates."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from trialsim.cohort.laws.law import CovariateLaw
from trialsim.units import Probability


class Bernoulli(CovariateLaw):
    """A covariate that is 1 with probability p and else 0: x = 1 when u > 1 − p. Levels "0" and "1".

    **Source:** Johnson, Kemp & Kotz 2005, Univariate Discrete Distributions, chapter 3.
    """

    dist: Literal["bernoulli"] = Field(description="1 with probability p, else 0.")
    p: Probability = Field(description="The probability of 1.")

    @property
    def levels(self) -> tuple[str, ...]:
        return ("0", "1")

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array([0.0, 1.0]), np.array([1.0 - self.p, 1.0])

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return (u > 1.0 - self.p).to(torch.float64)
