"""Weibull event times: a hazard that rises or falls as a power of time."""

from __future__ import annotations

import math
from typing import Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.twins.parametrisation import require_one
from trialsim.twins.process import EventLaw
from trialsim.units import PositiveNumber, PositiveTime, Share


class Weibull(EventLaw):
    """H(t) = (t / scale) ** shape on t >= 0; the hazard rises with time for shape > 1 and falls for shape < 1.

    One of `scale`, `median` = scale * log(2) ** (1 / shape), or `cumulative` = 1 - exp(-H(by)).

    **Source:** Weibull 1951, J Appl Mech 18:293, doi 10.1115/1.4010337.
    """

    dist: Literal["weibull"] = Field("weibull", description="A hazard that is a power of time.")
    shape: PositiveNumber = Field(description="Above 1 the hazard rises, below 1 it falls.")
    scale: PositiveTime | None = Field(None, description="The time by which 63.2 % have the event.")
    median: PositiveTime | None = Field(None, description="The median time.")
    cumulative: Share | None = Field(None, gt=0, lt=1, description="The share with the event by `by`.")
    by: PositiveTime | None = Field(None, description="The time that `cumulative` is for.")

    @model_validator(mode="after")
    def _one_parametrisation(self) -> Self:
        require_one(self, "weibull", (("scale",), ("median",), ("cumulative", "by")))
        return self

    @property
    def scale_time(self) -> float:
        """The scale in days."""
        if self.scale is not None:
            return self.scale
        if self.median is not None:
            return self.median / math.log(2.0) ** (1.0 / self.shape)
        assert self.cumulative is not None
        assert self.by is not None
        return self.by / (-math.log1p(-self.cumulative)) ** (1.0 / self.shape)

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return (t / self.scale_time) ** self.shape

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # exp(log(h) / shape) is 2.5 times faster than a power and agrees to a few units in the last place.
        return h.log().div_(self.shape).exp_().mul_(self.scale_time)
