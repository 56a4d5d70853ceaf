"""What arms add to a linear predictor: a number per arm, and perhaps one by a baseline category."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trialsim.records import Cohort
from trialsim.twins.arm_table import Arm, category_tables, pick
from trialsim.twins.visit_value import MeanDifference


class ArmShift:
    """`shifts` against the reference process, per arm in protocol order, on the scale of the linear predictor."""

    def __init__(self, shifts: Sequence[MeanDifference]):
        self.shifts = tuple(shifts)
        self._constant = torch.tensor([shift.value for shift in shifts], dtype=torch.float64, device="cpu")
        self._shifts = bool((self._constant != 0.0).any())
        self._by = category_tables([shift.by for shift in shifts], neutral=0.0)

    def of(self, cohort: Cohort | None, arm: Arm) -> Tensor | float:
        """Each patient's shift under `arm`; a number where it is the same for everyone."""
        total: Tensor | float = pick(self._constant, arm) if self._shifts else 0.0
        for table in self._by:
            assert cohort is not None
            total = total + table(cohort, arm)
        return total

    def same(self, arm: int, reference: int) -> bool:
        """Whether two arms shift every patient by the same."""
        return self.shifts[arm] == self.shifts[reference]

    def constant(self, arm: int, reference: int) -> float | None:
        """The difference of two arms where it is the same for every patient, else None."""
        test, control = self.shifts[arm], self.shifts[reference]
        return test.value - control.value if test.by == control.by else None


def plus(predictor: Tensor | None, shift: Tensor | float, base: float = 0.0) -> Tensor:
    """base + predictor + shift; of shape [1, 1], on the CPU, where it is the same for everyone."""
    if isinstance(shift, Tensor):
        total = shift if predictor is None else predictor + shift
        return total + base if base != 0.0 else total
    number = base + shift
    return torch.full((1, 1), number, dtype=torch.float64, device="cpu") if predictor is None else predictor + number
