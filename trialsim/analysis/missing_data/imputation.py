"""How an analysis fills in missing values: the option `imputation`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trialsim.analysis.missing_data.strategies import Strategy
from trialsim.parts import Part
from trialsim.units import Number


class Imputation(Part):
    """Imputation under missing at random or by reference to the control arm (Carpenter et al. 2013, doi 10.1080/10543406.2013.834911)."""

    method: Strategy = Field(default="mar", description="What is assumed after a patient leaves.")
    imputations: Annotated[int, Field(ge=2)] = Field(default=100, description="How many times the missing values are drawn (variance: rubin).")
    delta: Number = Field(default=0.0, description="Added to every value of the test arm imputed after a patient left, in the outcome's unit (tipping point).")
    variance: Literal["rubin", "jackknife"] = Field(
        default="rubin", description="Rubin's rules over random imputations, or one imputation by conditional means with a jackknife over patients."
    )
