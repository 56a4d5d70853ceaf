"""Piecewise exponential event times: a hazard constant between breaks."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.parts import Part
from trialsim.twins.parametrisation import check_pieces, merge_pieces
from trialsim.twins.process import EventLaw
from trialsim.twins.step_hazard import StepHazard
from trialsim.units import Duration, NonNegativeRate


class HazardPiece(Part):
    """A hazard and the time at which it ends; the last piece has no end."""

    until: Duration | None = Field(None, description="Where the piece ends, in time since randomisation; absent in the last piece.")
    rate: NonNegativeRate = Field(description="The hazard in the piece.")


class PiecewiseExponential(EventLaw):
    """H(t) = the sum over pieces of rate times the time spent in the piece.

    Pieces of length zero are legal and do nothing. A last rate of zero leaves a share without the event for ever.

    **Source:** Friedman 1982, Ann Stat 10:101, doi 10.1214/aos/1176345693.
    """

    dist: Literal["piecewise_exponential"] = Field("piecewise_exponential", description="A hazard constant between breaks.")
    pieces: tuple[HazardPiece, ...] = Field(description="[{until, rate}, ..., {rate}], in order of time.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_pieces([piece.until for piece in self.pieces], "piecewise_exponential")
        return self

    @cached_property
    def steps(self) -> StepHazard:
        """The hazard as breaks and rates."""
        return StepHazard(*merge_pieces([piece.until for piece in self.pieces], [piece.rate for piece in self.pieces]))

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.steps.cumulative_hazard(t)

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.steps.inverse_cumulative_hazard(h)
