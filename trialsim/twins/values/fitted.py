"""Longitudinal values of the fitted cohort model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess


class FittedValues(OutcomeProcess):
    """The outcome that the fitted cohort model learned at each visit, at its reference arm.

    value = fitted mean given the baseline + effect + residual sd * standard normal, independent between visits given the
    baseline. Declared effects replace the fitted ones; `{fitted: s}` is the fitted difference times s.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("difference", "shift", "fitted")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("shift",)

    model: Literal["fitted"] = Field("fitted", description="The outcome of the fitted cohort model (population.source).")
