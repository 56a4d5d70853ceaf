"""What every outcome process has in common, and what a law of event times must offer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.parts import Part
from trialsim.twins.effects import Effect
from trialsim.twins.not_yet import Dependence, TimeTrend
from trialsim.twins.prognosis import Prognostic


class OutcomeProcess(Part):
    """What nature does to one outcome under the reference arm; arms change it through `effects`.

    `effect_kinds` are the keys of an effect that mean something for this process, `prognostic_kinds` those of a
    prognostic covariate.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ()
    prognostic_kinds: ClassVar[tuple[str, ...]] = ()

    unit: str | None = Field(None, description="The outcome's own unit, a label; its numbers are bare.")
    prognostic: dict[str, Prognostic] = Field(
        {},
        description="How baseline covariates move the outcome: covariate -> {hr | or | rate_ratio | slope | shift, per, center} or with `level` for one category.",
    )
    time_trend: TimeTrend | None = Field(None, description="A drift of the outcome in calendar time.")
    dependence: Dependence | None = Field(None, description="Dependence on another outcome of the same patient.")

    def effect_problems(self, effect: Effect) -> Iterator[str]:
        """What is wrong with an effect of an allowed kind on this very process."""
        yield from ()

    def targets(self, outcome: str) -> tuple[str, ...]:
        """The names under which effects and endpoints address what this process yields."""
        return (outcome,)

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.time_trend is not None:
            yield "time_trend of an outcome"
        if self.dependence is not None:
            yield "dependence between outcomes"


class EventLaw(OutcomeProcess):
    """A law of event times, in days since randomisation, given by its cumulative hazard H.

    The event time of a patient with unit exponential E is the inverse of H at E. Both kernels are elementwise, keep the
    shape, take non-negative float64 tensors and may be given infinity.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    @abstractmethod
    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """H(t), with H(0) = 0."""

    @abstractmethod
    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The time at which H reaches `h`; infinity where it never does."""

    def median_time(self) -> float:
        """The median event time in days (infinity when fewer than half ever have the event)."""
        return float(self.inverse_cumulative_hazard(torch.tensor([0.5], dtype=torch.float64, device="cpu").log().neg())[0])
