"""A spending function: how much of an error probability may be used up by a given share of the information."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trialsim.design.choice import Rule


class SpendingLaw(Rule):
    """Cumulative error spent at spending times t in [0, 1]: increasing from 0 at t = 0 to the total at t = 1.

    **Source**: Lan & DeMets 1983, doi 10.1093/biomet/70.3.659.
    """

    key = "spending"

    @abstractmethod
    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        """The probability spent by each look, `[look]`. `total` is what is spent at time 1 (one side's share)."""

    def one_side(self, time: NDArray[np.float64], total: float, sides: int) -> NDArray[np.float64]:
        """What one side has spent by each look, `[look]`, when `total` is shared evenly by `sides` sides."""
        return self.cumulative(time, total / sides)

    def check_looks(self, n_looks: int) -> Iterator[str]:
        """What is wrong with this rule for a trial of `n_looks` looks, the final one included."""
        yield from ()
