"""The exponential family of spending functions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.spending.law import SpendingLaw
from trialsim.units import PositiveNumber


class Exponential(SpendingLaw):
    """α(t) = α^(t^(−ν)).

    **Source**: Anderson & Clark 2010, doi 10.1002/sim.3737 (the exponential spending function of gsDesign).
    """

    spending: Literal["exponential"] = Field(description="The exponential family of Anderson and Clark.")
    nu: PositiveNumber = Field(description="Shape: 0.75 resembles O'Brien–Fleming; smaller spends more early.")

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(total ** (time**-self.nu))
