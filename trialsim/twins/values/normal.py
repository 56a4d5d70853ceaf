"""A single normal value per patient."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.twins.process import OutcomeProcess
from trialsim.units import Number, PositiveNumber


class NormalValue(OutcomeProcess):
    """value = mean + prognostic shifts + effect + sd * standard normal.

    One number per patient: at whatever visit it is asked for, its noise is the same. `baseline` names the covariate that is
    its value at a visit on day 0, so that an endpoint can be a change from baseline; to make the value depend on the
    baseline, declare a prognostic shift per unit of that covariate.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("difference", "shift")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("shift",)

    dist: Literal["normal"] = Field("normal", description="A single value per patient, normal given the covariates.")
    mean: Number = Field(description="The mean under the reference arm at the centre of every prognostic covariate.")
    sd: PositiveNumber = Field(description="The standard deviation given the covariates.")
    baseline: str | None = Field(None, description="The covariate that is the value at baseline.")
