"""The section `study`: what the trial is called and where its assumptions come from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from trialsim.parts import Part


def _text(given: Any) -> Any:
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


class StudyIdentification(Part):
    """Names and sources. Nothing here changes a result."""

    id: Annotated[str, BeforeValidator(_text)] = Field(min_length=1, description="Short name of the study; names the run's folder.", examples=["ONC-301"])
    title: str | None = Field(default=None, description="One line.")
    phase: Annotated[str, BeforeValidator(_text)] | None = Field(default=None, description="Phase of development.", examples=["III"])
    indication: str | None = Field(default=None, description="The disease and population.")
    sources: tuple[str, ...] = Field(default=(), description="Citations; each assumption should be traceable.")
