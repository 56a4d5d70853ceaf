"""Event times of the fitted cohort model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess


class FittedEventTime(OutcomeProcess):
    """The event time that the fitted cohort model learned, at its reference arm.

    Its baseline hazard is constant between breaks and each patient's hazard is that times exp(linear predictor of the
    baseline covariates). Declared effects replace the fitted ones; `{fitted: s}` is the fitted log hazard ratio times s.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("hr", "fitted")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["fitted"] = Field("fitted", description="The event time of the fitted cohort model (population.source).")
