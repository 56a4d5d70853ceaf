"""The sections `designs` (the sponsor's choices) and `scenarios` (states of nature)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from trialsim.cohort import AnyLaw
from trialsim.parts import Part

Role = Literal["null_hypothesis", "alternative", "sensitivity", "assurance"]
STEPS = {
    "type": "object",
    "properties": {key: {"type": ["number", "string"]} for key in ("from", "to", "by")},
    "required": ["from", "to", "by"],
    "additionalProperties": False,
    "description": "Abbreviates a list; both ends are included.",
    "examples": [{"from": 300, "to": 2000, "by": 100}],
}
_VALUES = {"anyOf": [{"type": "array", "minItems": 1}, STEPS]}
Values = Annotated[list[Any], Field(min_length=1), WithJsonSchema(_VALUES)]
Grid = Annotated[dict[str, Values], Field(min_length=1)]


class Design(Part):
    """One choice, or a grid of choices, of parameter values."""

    set: dict[str, Any] | None = Field(default=None, description="Parameter -> value.", examples=[{"n": 400}])
    grid: Grid | None = Field(default=None, description="Parameter -> values; every combination is a design `id[n=400]`.", examples=[{"n": [400, 500]}])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.set is not None and self.grid is not None:
            raise PydanticCustomError("design", "give set or grid, not both")
        return self


def _draw_form(given: Any) -> str:
    return "word" if isinstance(given, str) else "map"


class Scenario(Design):
    """One state of nature, a grid of them, or a distribution over them."""

    role: Role = Field(default="alternative", description="What the scenario is for.")
    draw: Annotated[Annotated[Literal["posterior"], Tag("word")] | Annotated[dict[str, AnyLaw], Tag("map")], Discriminator(_draw_form)] | None = Field(
        default=None, description="Parameter -> distribution, drawn anew in every replicate; or `posterior` of the fitted cohort."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.draw is not None and (self.set is not None or self.grid is not None):
            raise PydanticCustomError("scenario", "give one of set, grid, draw")
        return self

    def unsupported(self) -> Iterator[str]:
        if self.draw is not None:
            yield "draw (assurance)"


class BareGrid(Part):
    """`designs: {grid: {n: [300, 400]}}`: designs named `n=300`, `n=400`."""

    grid: Grid = Field(description="Parameter -> values; every combination is a design `n=300`.")
