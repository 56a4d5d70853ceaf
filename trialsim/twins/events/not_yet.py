"""Event processes that the language has and the engine cannot run yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess


class FromCurve(OutcomeProcess):
    """Event times that follow a digitised survival curve, `{from_curve: FILE.csv}`."""

    supported: ClassVar[bool] = False
    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["from_curve"] = Field("from_curve", description="A digitised survival curve.")
    from_curve: str = Field(description="The file with the curve: columns time and survival.")
