"""Gamma event times."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.special import gammainccinv, gammaincinv
from torch import Tensor

from trialsim.twins.parametrisation import require_one
from trialsim.twins.process import EventLaw
from trialsim.units import PositiveNumber, PositiveTime, Rate


class Gamma(EventLaw):
    """H(t) = -log Q(shape, rate * t), Q the regularised upper incomplete gamma function; mean = shape / rate.

    The inverse is SciPy's and runs on a CPU only. Beyond a survival probability of 1e-300 the cumulative hazard is infinite.

    **Source:** Johnson, Kotz, Balakrishnan 1994, Continuous Univariate Distributions vol. 1, ch. 17, ISBN 0471584959.
    """

    cpu_only: ClassVar[bool] = True

    dist: Literal["gamma"] = Field("gamma", description="A sum of exponential waits, for a whole shape.")
    shape: PositiveNumber = Field(description="Above 1 the hazard rises to `rate`, below 1 it falls to it.")
    rate: Rate | None = Field(None, gt=0, description="The hazard that is approached at late times.")
    mean: PositiveTime | None = Field(None, description="The mean time.")

    @model_validator(mode="after")
    def _one_parametrisation(self) -> Self:
        require_one(self, "gamma", (("rate",), ("mean",)))
        return self

    @property
    def rate_per_day(self) -> float:
        """The rate parameter per day."""
        if self.rate is not None:
            return self.rate
        assert self.mean is not None
        return self.shape / self.mean

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        shape, x = torch.full_like(t, self.shape), t * self.rate_per_day
        lower = torch.special.gammainc(shape, x)
        late = torch.special.gammaincc(shape, x).log_()
        return torch.where(lower > 0.5, late, lower.neg().log1p_()).neg_()

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        late = torch.from_numpy(gammainccinv(self.shape, torch.exp(-h).numpy()))
        early = torch.from_numpy(gammaincinv(self.shape, torch.expm1(-h).neg_().numpy()))
        return torch.where(h > 0.5, late, early).div_(self.rate_per_day)
