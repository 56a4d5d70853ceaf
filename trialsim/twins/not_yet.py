"""What the language says about twins and the engine cannot run yet: validated, named, refused by `run`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.units import Number, PositiveNumber, PositiveTime, Probability, Quantity, Rate


class TimeTrend(Part):
    """A drift of an outcome in calendar time: `{hr: 0.95, per: 1 year}` or `{shift: -0.1, per: 1 year}`. Refused through its outcome."""

    hr: PositiveNumber | None = Field(None, description="Hazard ratio per `per` of calendar time.")
    shift: Number | None = Field(None, description="Change of the outcome per `per` of calendar time.")
    per: PositiveTime = Field(description="The stretch of calendar time the drift is for.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.hr is None) == (self.shift is None):
            raise PydanticCustomError("time_trend", "time_trend needs exactly one of hr and shift")
        return self


class Dependence(Part):
    """Dependence of two outcomes of one patient, by a copula. Refused through its outcome."""

    with_outcome: str = Field(alias="with", description="The other outcome.")
    copula: Literal["clayton", "gumbel", "gaussian"] = Field(description="The family of the copula.")
    kendall_tau: Number = Field(description="Kendall's tau of the two outcomes.", gt=-1, lt=1)


class IntercurrentEvent(Part):
    """Something that happens after randomisation and bears on the outcome: when, in whom, and what follows from it.

    Its time is a law (`dist` with the law's keys), `cumulative` + `by` (exponential), or `probability` + `at: uniform`. An
    event that changes nothing (`afterwards: unchanged`, no effect, nobody stops follow-up) needs no simulation of its own.
    """

    dist: Literal["exponential", "weibull", "gompertz", "gamma", "lognormal", "loglogistic"] | None = Field(None, description="The law of the event's time.")
    rate: Rate | None = Field(None, ge=0, description="Hazard (exponential, gompertz, gamma).")
    mean: PositiveTime | None = Field(None, description="Mean time (exponential, gamma).")
    median: PositiveTime | None = Field(None, description="Median time.")
    scale: PositiveTime | None = Field(None, description="Scale (weibull).")
    shape: Quantity | None = Field(None, description="Shape of the law.")
    sd_log: PositiveNumber | None = Field(None, description="Standard deviation of the log time (lognormal).")
    cumulative: Probability | None = Field(None, description="The share who have the event by `by`.")
    by: PositiveTime | None = Field(None, description="The time that `cumulative` is for.")
    probability: Probability | None = Field(None, description="The share who ever have the event; its time is then given by `at`.")
    at: Literal["uniform"] | None = Field(None, description="The time given that it happens: uniform over follow-up.")
    arm_hr: dict[str, PositiveNumber] = Field({}, description="Hazard ratio of the event in an arm: arm -> ratio.")
    afterwards: Literal["control_slope", "return_to_baseline", "unchanged"] = Field("unchanged", description="What the outcome does after the event.")
    effect: dict[str, Any] = Field({}, description="What the event does to outcomes: outcome -> {shift: v}.")
    stops_follow_up: Probability = Field(0.0, description="The share of those with the event whose follow-up ends there.")

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        ways = (self.dist is not None, self.dist is None and self.cumulative is not None, self.probability is not None)
        if sum(ways) != 1:
            raise PydanticCustomError("intercurrent_event", "an intercurrent event needs one of dist, cumulative + by, or probability + at")
        if (self.cumulative is None) != (self.by is None):
            raise PydanticCustomError("intercurrent_event", "cumulative and by belong together")
        return self

    def unsupported(self) -> Iterator[str]:
        if self.afterwards != "unchanged" or self.effect or self.stops_follow_up > 0:
            yield "an intercurrent event that changes outcomes or follow-up"
