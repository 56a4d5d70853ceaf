"""Spending that resembles Pocock's boundary."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.spending.law import SpendingLaw


class LanDeMetsPocock(SpendingLaw):
    """α(t) = α ln(1 + (e − 1) t).

    **Source**: Lan & DeMets 1983, doi 10.1093/biomet/70.3.659, α*₂.
    """

    spending: Literal["lan_demets_pocock"] = Field(description="Lan–DeMets spending of the Pocock type: nearly even, more early.")

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        return np.asarray(total * np.log1p((math.e - 1.0) * time))
