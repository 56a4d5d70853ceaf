"""The section `truth` of a protocol: the mechanism that generates what happens to every patient under every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from trialsim.parts import Part
from trialsim.twins.effects import Effect
from trialsim.twins.events import EventProcess, EventTimeLaw, FromCurve
from trialsim.twins.missing_values import MissingData
from trialsim.twins.not_yet import IntercurrentEvent
from trialsim.twins.values import Longitudinal, SingleValue


def _key(given: Any) -> str | None:
    """Which key says what the process is. None: neither is there."""
    has = (lambda key: key in given) if isinstance(given, Mapping) else (lambda key: hasattr(given, key))
    if has("dist"):
        return "a law"
    if has("model"):
        return "a longitudinal model"
    return "a curve" if has("from_curve") else None


Outcome = Annotated[
    Annotated[Annotated[EventProcess | SingleValue, Field(discriminator="dist")], Tag("a law")]
    | Annotated[Annotated[Longitudinal, Field(discriminator="model")], Tag("a longitudinal model")]
    | Annotated[FromCurve, Tag("a curve")],
    Discriminator(_key, custom_error_type="outcome", custom_error_message="an outcome needs `dist` (event times and single values) or `model` (longitudinal)"),
]
"""Any outcome process, by its `dist` or its `model`."""

Law = Annotated[EventTimeLaw, Field(discriminator="dist")]


def _dropout_form(given: Any) -> str:
    by_arm = isinstance(given, Mapping) and "dist" not in given and all(isinstance(law, Mapping | Part) for law in given.values())
    return "arms" if by_arm else "law"


class Censoring(Part):
    """Why follow-up ends before the cut."""

    dropout: Annotated[Annotated[Law, Tag("law")] | Annotated[dict[str, Law], Tag("arms")], Discriminator(_dropout_form)] | None = Field(
        None, description="The law of the time to loss to follow-up, for all arms, or a map of arms (an arm not in the map has no dropout)."
    )


class Truth(Part):
    """The data-generating mechanism of a scenario."""

    outcomes: dict[str, Outcome] = Field({}, description="Outcome -> the process that generates it under the reference arm.")
    effects: dict[str, dict[str, Effect]] = Field({}, description="Arm -> outcome -> effect; an arm without an effect on an outcome has none.")
    censoring: Censoring = Field(Censoring(), description="Loss to follow-up.")
    intercurrent_events: dict[str, IntercurrentEvent] = Field({}, description="Events after randomisation that bear on the outcome.")
    missing_data: dict[str, MissingData] = Field({}, description="Outcome -> how its values go missing.")
