"""The sections `interventions` and `arms`: what is given, and to whom (CDISC USDM StudyIntervention, StudyArm)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from trialsim.parts import Part
from trialsim.units import TIME_UNITS, Duration, Quantity


class Intervention(Part):
    """Something that is given."""

    role: Literal["investigational", "comparator", "placebo"] = Field(description="Its role in the comparison.")
    dose: Quantity | None = Field(default=None, description="The dose, with its unit.", examples=["10 mg/kg"])
    description: str | None = Field(default=None, description="In words.")


class DropOf(Part):
    """After an arm was dropped."""

    drop_of: str = Field(description="The arm whose dropping is waited for.")


class After(Part):
    """`after: {drop_of: arm}`."""

    after: DropOf = Field(description="The event that is waited for.")


def _moment(given: Any) -> str:
    if isinstance(given, dict | After):
        return "after"
    words = str(given).split()
    return "look" if isinstance(given, str) and (len(words) != 2 or words[1] not in TIME_UNITS) and not given[:1].isdigit() else "time"


Moment = Annotated[Annotated[Duration, Tag("time")] | Annotated[str, Tag("look")] | Annotated[After, Tag("after")], Discriminator(_moment)]
"""A calendar time, the id of a look, or `after: {drop_of: arm}`."""


class Arm(Part):
    """A treatment group. The order of the arms is the order of allocation."""

    type: Literal["experimental", "active_comparator", "placebo_comparator", "no_treatment"] | None = Field(default=None, description="Kind of arm.")
    interventions: tuple[str, ...] = Field(default=(), description="What the patients of this arm are given.")
    dose: Quantity | None = Field(default=None, description="The dose of this arm, where arms are doses.", examples=["10 mg"])
    opens: Moment | None = Field(default=None, description="When the arm opens on a platform trial; absent: at the start.")
    closes: Moment | None = Field(default=None, description="When the arm closes on a platform trial; absent: with the trial.")
    max_n: int | None = Field(default=None, gt=0, description="Most patients the arm may enrol.")
    concurrent_control_only: bool | None = Field(default=None, description="Whether it is compared with patients randomised while it was open only.")
    description: str | None = Field(default=None, description="In words.")

    def unsupported(self) -> Iterator[str]:
        for option in ("opens", "closes", "max_n", "concurrent_control_only"):
            if getattr(self, option) not in (None, False):
                yield f"{option} of an arm (platform trials)"
