"""A number with what it is worth: its standard error and the patients it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measured:
    """An estimate, its standard error and the numbers of real and synthetic patients behind it.

    `se` covers both sides: real patients are a sample, and the synthetic table is finite. NaN: it has none (one patient).
    """

    estimate: float
    se: float
    n_real: int
    n_synthetic: int

    def interval(self, z: float = 1.959963984540054) -> tuple[float, float]:
        """estimate ± z · se."""
        return self.estimate - z * self.se, self.estimate + z * self.se

    def as_json(self) -> dict[str, Any]:
        """Without NaN: what is undefined is null."""
        return {"estimate": finite(self.estimate), "se": finite(self.se), "n_real": self.n_real, "n_synthetic": self.n_synthetic}


def finite(value: float) -> float | None:
    """The number, or None where it is not one."""
    return float(value) if math.isfinite(value) else None
