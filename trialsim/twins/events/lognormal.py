"""Log-normal event times."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.twins.process import EventLaw
from trialsim.units import PositiveNumber, PositiveTime


class LogNormal(EventLaw):
    """H(t) = -log Phi(-z), z = log(t / median) / sd_log, on t > 0.

    The inverse takes the quantile from the nearer tail, so neither early nor late times lose digits.

    **Source:** Johnson, Kotz, Balakrishnan 1994, Continuous Univariate Distributions vol. 1, ch. 14, ISBN 0471584959.
    """

    dist: Literal["lognormal"] = Field("lognormal", description="The log of the time is normal.")
    median: PositiveTime = Field(description="The median time.")
    sd_log: PositiveNumber = Field(description="The standard deviation of the log time.")

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        z = (t / self.median).log_().div_(self.sd_log)
        return torch.special.log_ndtr(z.neg_()).neg_()

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        late = torch.special.ndtri(torch.exp(-h)).neg_()
        early = torch.special.ndtri(torch.expm1(-h).neg_())
        z = torch.where(h > math.log(2.0), late, early)
        return z.mul_(self.sd_log).exp_().mul_(self.median)
