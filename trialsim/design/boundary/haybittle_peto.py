"""Haybittle and Peto's boundary."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.boundary.boundary import Boundary
from trialsim.units import PositiveNumber


class HaybittlePeto(Boundary):
    """A fixed z at every interim look; the final critical value is found so that the total error is alpha.

    **Source**: Haybittle 1971, doi 10.1259/0007-1285-44-526-793; Peto et al. 1976, doi 10.1038/bjc.1976.220.
    """

    free_everywhere: ClassVar[bool] = False
    boundary: Literal["haybittle_peto"] = Field(description="A fixed, high z at interim looks; the final look is re-solved.")
    z: PositiveNumber = Field(default=3.0, description="The critical z of the interim looks.")

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        return np.append(np.full(len(information) - 1, self.z), constant)
