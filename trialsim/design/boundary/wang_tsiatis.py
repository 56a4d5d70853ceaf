"""The power family of boundaries."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.boundary.boundary import Boundary
from trialsim.units import Number


class WangTsiatis(Boundary):
    """z_k = c t_k^(Δ − ½). Δ = 0 is O'Brien–Fleming, Δ = ½ Pocock.

    **Source**: Wang & Tsiatis 1987, doi 10.2307/2531959.
    """

    boundary: Literal["wang_tsiatis"] = Field(description="The power family of Wang and Tsiatis.")
    delta: Number = Field(ge=-5, le=5, description="Shape: 0 is O'Brien–Fleming, 0.5 is Pocock.")

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        return np.asarray(constant * information ** (self.delta - 0.5))
