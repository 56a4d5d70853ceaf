"""Event times of the fitted cohort model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.cohort.calibration.published_curve import PublishedCurve
from trialsim.twins.process import OutcomeProcess


class FittedEventTime(OutcomeProcess):
    """The event time that the fitted cohort model learned, at its reference arm.

    Its baseline hazard is constant between breaks and each patient's hazard is that times exp(linear predictor of the
    baseline covariates). Declared effects replace the fitted ones; `{fitted: s}` is the fitted log hazard ratio times s.
    With `calibrate_to` the baseline hazard is another: that with which the simulated population has a published curve under the
    reference arm. What the data say of prognosis and effects stays.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("hr", "fitted")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("hr",)

    dist: Literal["fitted"] = Field("fitted", description="The event time of the fitted cohort model (population.source).")
    calibrate_to: PublishedCurve | None = Field(None, description="A published survival curve of the reference arm, which the simulated population then has.")
