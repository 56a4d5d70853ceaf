"""Event times that follow a published survival curve."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.cohort.calibration.published_curve import PublishedCurve
from trialsim.errors import ProtocolError
from trialsim.twins.process import EventLaw
from trialsim.twins.step_hazard import StepHazard


class FromCurve(EventLaw, PublishedCurve):
    """Event times that follow a digitised survival curve, `{from_curve: FILE.csv, time_unit: months}`.

    The hazard is constant between breaks, so that survival passes within 0.005 of every digitised point (half a standard error where numbers at
    risk tell it). `of: population` moves the hazard until the survival of the simulated population is the curve, whatever
    the prognostic covariates; else the curve is that of a patient at their centre.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("hr",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["from_curve"] = Field("from_curve", description="A digitised survival curve.")

    @cached_property
    def steps(self) -> StepHazard:
        """The hazard as breaks and rates. ProtocolError where the curve has not been read."""
        if not self.pieces:
            raise ProtocolError(f"the curve {self.from_curve} has not been read")
        return StepHazard(self.breaks, self.hazards)

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.steps.cumulative_hazard(t)

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.steps.inverse_cumulative_hazard(h)
