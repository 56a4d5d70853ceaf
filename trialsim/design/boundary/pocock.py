"""Pocock's boundary."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.boundary.boundary import Boundary


class Pocock(Boundary):
    """z_k = c, the same at every look.

    **Source**: Pocock 1977, doi 10.1093/biomet/64.2.191.
    """

    boundary: Literal["pocock"] = Field(description="Pocock's boundary: the same z at every look.")

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        return np.full(len(information), constant)
