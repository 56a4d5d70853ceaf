"""What twins take from a fitted cohort model: the outcomes it learned, at its reference arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort


class FittedEvent(Protocol):
    """An event time with a hazard constant between `breaks` (days) at linear predictor 0, and fitted log hazard ratios of arms."""

    @property
    def breaks(self) -> tuple[float, ...]: ...

    @property
    def hazards(self) -> tuple[float, ...]: ...

    @property
    def arm_log_hr(self) -> Mapping[str, float]: ...

    def linear_predictor(self, cohort: Cohort) -> Float[Tensor, "replicate patient"]: ...


class FittedValue(Protocol):
    """A value at one visit: mean given the baseline under the reference arm, residual sd, fitted differences of arms."""

    @property
    def sd(self) -> float: ...

    @property
    def arm_difference(self) -> Mapping[str, float]: ...

    @property
    def baseline(self) -> str | None: ...

    def mean(self, cohort: Cohort) -> Float[Tensor, "replicate patient"]: ...


@runtime_checkable
class FittedOutcomes(Protocol):
    """A cohort model that also learned outcomes: events by outcome, values by (outcome, visit)."""

    @property
    def events(self) -> Mapping[str, FittedEvent]: ...

    @property
    def values(self) -> Mapping[tuple[str, str], FittedValue]: ...
