"""Critical z values as stated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trialsim.design.boundary.boundary import Boundary
from trialsim.units import Number


class FixedZ(Boundary):
    """The stated z at each look, whatever error probability that spends (`cumulative_alpha` reports it).

    Where a trial ends with fewer looks than planned, its final look uses the last value.
    """

    free: ClassVar[bool] = False
    free_everywhere: ClassVar[bool] = False
    boundary: Literal["z"] = Field(description="Critical z values stated for each look.")
    values: tuple[Number, ...] = Field(min_length=1, description="The critical z of each look, the final look included.")

    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        return np.asarray([*self.values[: len(information) - 1], self.values[-1]], dtype=np.float64)

    def check_looks(self, n_looks: int) -> Iterator[str]:
        if len(self.values) != n_looks:
            yield f"values: {len(self.values)} given; {n_looks} looks need {n_looks}, one for each look and the final one"
