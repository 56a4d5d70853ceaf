"""Event processes that the language has and the engine cannot run yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.events.cure_mixture import Uncured
from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, Rate


class FromCurve(OutcomeProcess):
    """Event times that follow a digitised survival curve, `{from_curve: FILE.csv}`."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["from_curve"] = Field("from_curve", description="A digitised survival curve.")
    from_curve: str = Field(description="The file with the curve: columns time and survival.")


class Recurrent(OutcomeProcess):
    """Events that come again: a Poisson process whose rate a gamma frailty multiplies; counts have variance mu + dispersion * mu ** 2."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio", "hr")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("rate_ratio", "hr")

    dist: Literal["recurrent"] = Field("recurrent", description="Recurrent events with a gamma frailty.")
    rate: Rate = Field(ge=0, description="The mean number of events per unit of time.")
    dispersion: Number = Field(0.0, ge=0, description="The variance of the frailty, k in mu + k * mu ** 2.")


class IllnessDeath(OutcomeProcess):
    """Progression and death, with a death hazard that changes at progression."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["illness_death"] = Field("illness_death", description="Progression, death, and death after progression.")
    progression: Uncured = Field(description="The law of the time to progression.")
    death: Uncured = Field(description="The law of the time to death without progression.")
    death_after_progression: Uncured = Field(description="The law of the time from progression to death.")

    def targets(self, outcome: str) -> tuple[str, ...]:
        return (outcome, "progression", "death", "death_after_progression")
