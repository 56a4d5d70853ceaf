"""A boundary given by its shape rather than by spending."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trialsim.design.choice import Rule


class Boundary(Rule):
    """Critical values with one free constant, found so that the error probability is alpha, or with none.

    `free` tells whether there is a constant to find, `free_everywhere` whether every look depends on it (else only the
    final one does).
    """

    key = "boundary"
    free: ClassVar[bool] = True
    free_everywhere: ClassVar[bool] = True

    @abstractmethod
    def critical_z(self, constant: float, information: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
        """The upper critical values `[look]` at information fractions `information`, given the free constant."""

    def check_looks(self, n_looks: int) -> Iterator[str]:
        """What is wrong with this rule for a trial of `n_looks` looks, the final one included."""
        yield from ()
