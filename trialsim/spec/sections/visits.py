"""The section `visits`: when patients are seen, in time since randomisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.units import Duration, PositiveTime, Time


class Visit(Part):
    """A named visit (`at`), or a schedule that repeats (`every`)."""

    at: Time | None = Field(default=None, description="Planned time since randomisation; negative before it.", examples=["26 weeks"])
    every: PositiveTime | None = Field(default=None, description="The interval of a schedule that repeats.", examples=["8 weeks"])
    window: Duration | None = Field(default=None, description="Deviation that still counts as this visit; matters to `analyse` only.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at is None) == (self.every is None):
            raise PydanticCustomError("visit", "needs exactly one of: at, every")
        return self

    def unsupported(self) -> Iterator[str]:
        if self.every is not None:
            yield "visits that repeat (every)"


def _bare_schedule(given: Any) -> Any:
    if isinstance(given, dict) and isinstance(given.get("every"), str):
        return {**given, "every": {"every": given["every"]}}
    return given


Visits = Annotated[dict[str, Visit], BeforeValidator(_bare_schedule)]
"""Visit id -> visit. `visits: {every: 8 weeks}` is one unnamed schedule, called `every`."""
