"""The power family of spending functions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.spending.law import SpendingLaw
from trialsim.units import PositiveNumber


class KimDeMets(SpendingLaw):
    """α(t) = α t^ρ.

    **Source**: Kim & DeMets 1987, doi 10.1093/biomet/74.1.149; Jennison & Turnbull 2000, section 7.2.1.
    """

    spending: Literal["kim_demets"] = Field(description="The power family of Kim and DeMets.")
    rho: PositiveNumber = Field(description="Power of the information fraction: 1 spends evenly, 3 resembles O'Brien–Fleming.")

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        return np.asarray(total * time**self.rho)
