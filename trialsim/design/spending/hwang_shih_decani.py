"""The gamma family of spending functions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.spending.law import SpendingLaw
from trialsim.units import Number


class HwangShihDeCani(SpendingLaw):
    """α(t) = α (1 − exp(−γ t)) / (1 − exp(−γ)), and α t at γ = 0. Negative γ spends late.

    **Source**: Hwang, Shih & De Cani 1990, doi 10.1002/sim.4780091207.
    """

    spending: Literal["hwang_shih_decani"] = Field(description="The gamma family of Hwang, Shih and De Cani.")
    gamma: Number = Field(ge=-100, le=100, description="Shape: −4 resembles O'Brien–Fleming, 1 resembles Pocock, 0 spends evenly.")

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        if abs(self.gamma) < 1e-10:
            return total * time
        return np.asarray(total * np.expm1(-self.gamma * time) / np.expm1(-self.gamma))
