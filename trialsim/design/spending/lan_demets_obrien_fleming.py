"""Spending that resembles O'Brien and Fleming's boundary."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtr, ndtri

from trialsim.design.spending.law import SpendingLaw


class LanDeMetsOBrienFleming(SpendingLaw):
    """α(t) = 2 − 2 Φ(Φ⁻¹(1 − α/2) / √t), with α one side's share.

    **Source**: Lan & DeMets 1983, doi 10.1093/biomet/70.3.659, α*₁.
    """

    spending: Literal["lan_demets_obrien_fleming"] = Field(description="Lan–DeMets spending of the O'Brien–Fleming type: very little early.")

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return np.asarray(2.0 * ndtr(ndtri(total / 2.0) / np.sqrt(time)))
