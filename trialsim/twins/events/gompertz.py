"""Gompertz event times: a hazard that grows or decays exponentially."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.twins.process import EventLaw
from trialsim.units import Rate


class Gompertz(EventLaw):
    """H(t) = rate * (exp(shape * t) - 1) / shape on t >= 0: the hazard is rate * exp(shape * t).

    With a negative shape the cumulative hazard never exceeds -rate / shape, and a share exp(rate / shape) never has the event.

    **Source:** Gompertz 1825, Phil Trans R Soc 115:513, doi 10.1098/rstl.1825.0026.
    """

    dist: Literal["gompertz"] = Field("gompertz", description="A hazard that grows (shape > 0) or decays (shape < 0) exponentially.")
    shape: Rate = Field(description="Growth of the log hazard per unit of time (`0.05 / year`); zero is an exponential.")
    rate: Rate = Field(gt=0, description="The hazard at randomisation.")

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return t * self.rate if self.shape == 0 else torch.expm1(t * self.shape).mul_(self.rate / self.shape)

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.shape == 0:
            return h / self.rate
        growth = (h * (self.shape / self.rate)).clamp_(min=-1.0)
        # log1p(-1) = -infinity, over a negative shape: never.
        return growth.log1p_().div_(self.shape)
