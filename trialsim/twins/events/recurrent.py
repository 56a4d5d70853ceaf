"""Recurrent events."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, Rate


class Recurrent(OutcomeProcess):
    """Events that come again: a Poisson process whose rate a gamma frailty multiplies; counts have variance mu + dispersion * mu ** 2.

    A time_to_event endpoint is the time to the first event (a method for recurrent events sees them all); a count endpoint
    the number of events by its visit, else by the end of follow-up, with the time followed as its exposure. `rate_ratio` and
    `hr` are the same effect: both multiply the rate, constant, piecewise in time since randomisation, or by category.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio", "hr")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio", "hr")

    dist: Literal["recurrent"] = Field("recurrent", description="Recurrent events with a gamma frailty.")
    rate: Rate = Field(ge=0, description="The mean number of events per unit of time.")
    dispersion: Number = Field(0.0, ge=0, le=1e4, description="The variance of the frailty, k in mu + k * mu ** 2.")
