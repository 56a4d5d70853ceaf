"""Exponential event times: a constant hazard."""

from __future__ import annotations

import math
from typing import Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.twins.parametrisation import require_one
from trialsim.twins.process import EventLaw
from trialsim.units import NonNegativeRate, PositiveTime, Share


class Exponential(EventLaw):
    """H(t) = rate * t on t >= 0.

    One of `rate` (the hazard), `mean` = 1 / rate, `median` = log 2 / rate, or `cumulative` = 1 - exp(-rate * by). A rate of
    zero, or a cumulative share of zero, is an event that never happens.

    **Source:** Johnson, Kotz, Balakrishnan 1994, Continuous Univariate Distributions vol. 1, ch. 19, ISBN 0471584959.
    """

    dist: Literal["exponential"] = Field("exponential", description="A constant hazard.")
    rate: NonNegativeRate | None = Field(None, description="The hazard.")
    mean: PositiveTime | None = Field(None, description="The mean time.")
    median: PositiveTime | None = Field(None, description="The median time.")
    cumulative: Share | None = Field(None, ge=0, lt=1, description="The share with the event by `by`.")
    by: PositiveTime | None = Field(None, description="The time that `cumulative` is for.")

    @model_validator(mode="after")
    def _one_parametrisation(self) -> Self:
        require_one(self, "exponential", (("rate",), ("mean",), ("median",), ("cumulative", "by")))
        return self

    @property
    def hazard(self) -> float:
        """The rate per day."""
        if self.rate is not None:
            return self.rate
        if self.mean is not None:
            return 1.0 / self.mean
        if self.median is not None:
            return math.log(2.0) / self.median
        assert self.cumulative is not None
        assert self.by is not None
        return -math.log1p(-self.cumulative) / self.by

    @property
    def mean_time(self) -> float:
        """The mean in days, infinite when the hazard is zero."""
        return 1.0 / self.hazard if self.hazard > 0 else math.inf

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return t * self.hazard if self.hazard > 0 else t.clamp(max=0.0)

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return h * self.mean_time
