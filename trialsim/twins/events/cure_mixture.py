"""Mixture cure models: a share never has the event."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.twins.events.exponential import Exponential
from trialsim.twins.events.gamma import Gamma
from trialsim.twins.events.gompertz import Gompertz
from trialsim.twins.events.loglogistic import LogLogistic
from trialsim.twins.events.lognormal import LogNormal
from trialsim.twins.events.piecewise_exponential import PiecewiseExponential
from trialsim.twins.events.weibull import Weibull
from trialsim.twins.process import EventLaw
from trialsim.units import Share

Uncured = Annotated[Exponential | Weibull | Gompertz | LogNormal | LogLogistic | Gamma | PiecewiseExponential, Field(discriminator="dist")]


class CureMixture(EventLaw):
    """H(t) = -log(cured + (1 - cured) * S(t)), S the survival of the uncured; it never exceeds -log(cured).

    A hazard ratio acts on the whole population's hazard (S_arm = S_all ** hr), so an effective arm also has more cured.

    **Source:** Berkson & Gage 1952, JASA 47:501, doi 10.1080/01621459.1952.10501187.
    """

    dist: Literal["cure_mixture"] = Field("cure_mixture", description="A share never has the event; the others follow a law.")
    cured: Share = Field(ge=0, lt=1, description="The share that never has the event.")
    uncured: Uncured = Field(description="The law of the others.")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.uncured.prognostic or self.uncured.time_trend or self.uncured.dependence:
            raise PydanticCustomError("cure_mixture", "prognostic, time_trend and dependence belong to the cure_mixture, not to its uncured law")
        return self

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # 1 - (1 - cured) * F with F = 1 - S from expm1, so that early times keep their digits.
        return torch.expm1(-self.uncured.cumulative_hazard(t)).mul_(1.0 - self.cured).log1p_().neg_()

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        failed = torch.expm1(-h).neg_().div_(1.0 - self.cured)
        never = failed >= 1.0
        uncured_hazard = torch.log1p(-failed.clamp_(max=1.0)).neg_()
        times = self.uncured.inverse_cumulative_hazard(uncured_hazard.clamp_(max=700.0))
        return torch.where(never, math.inf, times) if self.cured > 0 else self.uncured.inverse_cumulative_hazard(h)
