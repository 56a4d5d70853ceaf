"""Nominal significance levels as stated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtri

from trialsim.design.boundary.boundary import Boundary
from trialsim.units import Share


class FixedP(Boundary):
    """z_k = Φ⁻¹(1 − p_k / sides): the stated nominal p-values, two-sided where the analysis is.

    Where a trial ends with fewer looks than planned, its final look uses the last value.
    """

    free: ClassVar[bool] = False
    free_everywhere: ClassVar[bool] = False
    boundary: Literal["p"] = Field(description="Nominal p-values stated for each look.")
    values: tuple[Annotated[Share, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, description="The nominal p-value of each look, the final look included; two-sided when the analysis has `sides: 2`."
    )

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        levels = np.asarray([*self.values[: len(information) - 1], self.values[-1]], dtype=np.float64)
        return np.asarray(-ndtri(levels / sides))

    def check_looks(self, n_looks: int) -> Iterator[str]:
        if len(self.values) != n_looks:
            yield f"values: {len(self.values)} given; {n_looks} looks need {n_looks}, one for each look and the final one"
