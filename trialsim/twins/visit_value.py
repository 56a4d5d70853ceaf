"""Values of twins at visits: an expected value given the baseline, the arm's difference, and normal noise.

    value = expected(baseline) + difference(arm, visit, category) + sd * z

z is the twin's own at that visit, whatever the arm. The noise of a longitudinal outcome is addressed by the visit's time in
whole days (modulo 2**32, for visits before randomisation), so adding, removing or renaming visits changes no other value; a
single value has index 0 at every visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.twins.arm_table import Arm, ByCategory, category_tables, pick
from trialsim.twins.event_time import Predictor


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """An arm's difference against the reference process at one visit: a number, or by a baseline category."""

    value: float = 0.0
    by: ByCategory | None = None


NO_DIFFERENCE = MeanDifference()


def noise_index(day: float) -> int:
    """Which number of the outcome's stream belongs to a visit on `day`."""
    return round(day) % (1 << 32)


class VisitValue:
    """A continuous outcome at one visit: expected value, residual sd, a difference per arm (in protocol order), noise index."""

    def __init__(self, expected: Predictor, sd: float, differences: Sequence[MeanDifference], index: int):
        self.expected, self.sd, self.differences, self.index = expected, sd, tuple(differences), index
        self._constant = torch.tensor([difference.value for difference in differences], dtype=torch.float64, device="cpu")
        self._shifts = bool((self._constant != 0.0).any())
        self._by = category_tables([difference.by for difference in differences], neutral=0.0)

    def values(self, normals: Float[Tensor, "replicate patient"], *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The value of every patient under `arm`. Overwrites `normals`, which the caller has just drawn."""
        value = normals.mul_(self.sd)
        mean = self.expected(cohort)
        if mean is not None:
            value = value.add_(mean.to(value.device))  # one number for all lies on the CPU
        if self._shifts:
            value = value.add_(pick(self._constant, arm))
        for table in self._by:
            assert cohort is not None
            value = value.add_(table(cohort, arm))
        return value

    def same(self, arm: int, reference: int) -> bool:
        """Whether two arms do the same to every patient."""
        return self.differences[arm] == self.differences[reference]

    def mean_difference(self, cohort: Cohort | None, arm: int, reference: int) -> float | Float[Tensor, "replicate patient"]:
        """Each patient's expected difference between two arms; a number where it is the same for everyone."""
        constant = self.differences[arm].value - self.differences[reference].value
        if not self._by:
            return constant
        assert cohort is not None
        total: Tensor | float = constant
        for table in self._by:
            total = total + table(cohort, arm) - table(cohort, reference)
        return total
