"""How an analysis fills in missing values. In the language; not yet in the engine."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trialsim.parts import Part
from trialsim.units import Number


class Imputation(Part):
    """Multiple imputation, under missing at random or by reference to the control arm (Carpenter et al. 2013)."""

    supported: ClassVar[bool] = False
    method: Literal["mar", "jump_to_reference", "copy_reference", "copy_increments"] = Field(
        default="mar", description="What is assumed after a patient leaves."
    )
    imputations: Annotated[int, Field(ge=2)] = Field(default=100, description="How many times the missing values are drawn.")
    delta: Number = Field(default=0.0, description="Added to every imputed value of the test arm, in the outcome's unit (tipping point).")
    variance: Literal["rubin", "jackknife"] = Field(default="rubin", description="How the variance over imputations is formed.")
