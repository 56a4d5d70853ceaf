"""The section `endpoints`: what the protocol measures of the outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.units import Duration

Direction = Literal["higher_is_better", "lower_is_better"]
_DEFAULT_DIRECTION: dict[str, Direction] = {
    "time_to_event": "lower_is_better",
    "composite": "lower_is_better",
    "continuous": "higher_is_better",
    "binary": "higher_is_better",
}


def _one_or_many(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class Endpoint(Part):
    """What is measured. A `composite` and a time to the first of several take `outcomes`, everything else one `outcome`."""

    type: Literal["time_to_event", "continuous", "binary", "count", "ordinal", "composite"] = Field(description="What kind of variable it is.")
    outcome: str | None = Field(default=None, description="The outcome that is measured.")
    outcomes: tuple[str, ...] = Field(default=(), description="Outcomes of which the first to happen counts.")
    at: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(default=(), description="Visits at which it is measured.")
    change_from: str | None = Field(default=None, description="The visit whose value is subtracted.")
    direction: Direction = Field(
        description="Which way is good. Default: lower for events (fewer), higher for continuous and binary; counts and ordinal endpoints must state it.",
        default="higher_is_better",
    )
    lag: Duration = Field(default=0.0, description="Time between the measurement and its result.")
    level: Literal["primary", "secondary", "exploratory"] = Field(default="primary", description="Its place among the endpoints.")

    @model_validator(mode="before")
    @classmethod
    def _default_direction(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("direction") is None and given.get("type") in ("time_to_event", "composite"):
            return {**given, "direction": _DEFAULT_DIRECTION[given["type"]]}
        return given

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if self.type in ("count", "ordinal") and "direction" not in self.model_fields_set:
            raise PydanticCustomError("endpoint", "{text}", {"text": f"a {self.type} endpoint must state its direction: higher_is_better or lower_is_better"})
        if self.outcome is not None and self.outcomes:
            raise PydanticCustomError("endpoint", "give outcome or outcomes, not both")
        if self.outcomes and self.type not in ("time_to_event", "composite"):
            raise PydanticCustomError("endpoint", "outcomes (the first of several) are for time_to_event and composite endpoints; write outcome")
        if len(set(self.outcomes)) < len(self.outcomes) or len(set(self.at)) < len(self.at):
            raise PydanticCustomError("endpoint", "an outcome or a visit is named twice")
        return self

    @property
    def components(self) -> tuple[str, ...]:
        """The outcomes it is made of."""
        return self.outcomes if self.outcome is None else (self.outcome,)

    @property
    def is_event(self) -> bool:
        """Whether it is a time to (the first) event."""
        return self.type in ("time_to_event", "composite")

    def unsupported(self) -> Iterator[str]:
        if self.lag:
            yield "lag of an endpoint"
