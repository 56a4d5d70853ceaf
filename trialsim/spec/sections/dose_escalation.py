"""The section `dose_escalation`: rules of phase I. In the language; not yet in the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialsim.parts import Part
from trialsim.units import Probability


class DoseEscalation(Part):
    """How the next cohort's dose is chosen. Doses are arms, toxicity is a binary outcome."""

    supported: ClassVar[bool] = False
    method: Literal["three_plus_three", "boin", "crm", "mcp_mod"] = Field(description="The rule.")
    target: Annotated[Probability, Field(gt=0, lt=1)] | None = Field(default=None, description="Target probability of toxicity.")
    cohort_size: int = Field(default=3, gt=0, description="Patients per cohort.")
    start: str | None = Field(default=None, description="The arm (dose) of the first cohort; absent: the first of `order`.")
    max_n: int | None = Field(default=None, gt=0, description="Most patients in all.")
    order: tuple[str, ...] = Field(default=(), description="The arms from the lowest dose to the highest; absent: as in `arms`.")
    elimination: Probability | None = Field(
        default=None, description="Posterior probability of overdosing above which a dose and those above it are eliminated."
    )

    def unsupported(self) -> Iterator[str]:
        yield f"dose_escalation by {self.method}"
