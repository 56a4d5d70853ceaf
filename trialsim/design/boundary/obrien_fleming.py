"""O'Brien and Fleming's boundary."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.boundary.boundary import Boundary


class OBrienFleming(Boundary):
    """z_k = c / √t_k.

    **Source**: O'Brien & Fleming 1979, doi 10.2307/2530245.
    """

    boundary: Literal["obrien_fleming"] = Field(description="O'Brien and Fleming's boundary: constant on the score scale.")

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        return np.asarray(constant / np.sqrt(information))
