"""Futility when the conditional power is low. The engine cannot run it yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialsim.design.futility.rule import FutilityRule
from trialsim.units import Share


class ConditionalPowerBelow(FutilityRule):
    """Stop when the probability of final success, given the data and an assumed effect, is below a threshold.

    **Source**: Lan, Simon & Halperin 1982, doi 10.1080/07474948208836014.
    """

    key = "conditional_power_below"
    supported: ClassVar[bool] = False
    conditional_power_below: Annotated[Share, Field(gt=0, lt=1)] = Field(description="The conditional power below which the trial stops.")
    under: Literal["trend", "design", "null"] = Field(
        default="trend", description="The effect assumed for the rest of the trial: as observed, as designed, or none."
    )

    def unsupported(self) -> Iterator[str]:
        yield "futility by conditional power"
