"""Log-logistic event times: a hazard that rises and then falls (shape > 1)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.twins.process import EventLaw
from trialsim.units import PositiveNumber, PositiveTime


class LogLogistic(EventLaw):
    """H(t) = log(1 + (t / median) ** shape) on t >= 0.

    **Source:** Bennett 1983, Appl Stat 32:165, doi 10.2307/2347295.
    """

    dist: Literal["loglogistic"] = Field("loglogistic", description="The log of the time is logistic.")
    median: PositiveTime = Field(description="The median time.")
    shape: PositiveNumber = Field(description="Above 1 the hazard rises and then falls; at most 1 it falls.")

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.log1p((t / self.median) ** self.shape)

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.expm1(h).log_().div_(self.shape).exp_().mul_(self.median)
