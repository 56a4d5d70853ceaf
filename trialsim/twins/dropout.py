"""Loss to follow-up: an event time of its own, with one law for all arms or a law per arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.twins.arm_table import Arm
from trialsim.twins.event_time import EventTime


class Dropout:
    """`by_arm` holds each arm's process in protocol order (None: nobody of the arm drops out); one entry is for all arms."""

    def __init__(self, by_arm: Sequence[EventTime | None]):
        self.by_arm = tuple(by_arm)

    def times(self, exponentials: Float[Tensor, "replicate patient"], *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """Days from randomisation to loss to follow-up; infinity: never. Overwrites `exponentials`."""
        if len(self.by_arm) == 1:
            return self._times(0, exponentials, cohort)
        if isinstance(arm, int):
            return self._times(arm, exponentials, cohort)
        result = torch.full_like(exponentials, math.inf)
        for index in range(len(self.by_arm)):
            result = torch.where(arm == index, self._times(index, exponentials.clone(), cohort), result)
        return result

    def _times(self, index: int, exponentials: Tensor, cohort: Cohort | None) -> Tensor:
        process = self.by_arm[index]
        return torch.full_like(exponentials, math.inf) if process is None else process.times(exponentials, cohort=cohort, arm=0)

    def cumulative_hazard(self, t: Float[Tensor, "..."], *, cohort: Cohort | None, arm: int) -> Float[Tensor, "..."]:
        """The cumulative hazard of loss to follow-up under an arm."""
        process = self.by_arm[0 if len(self.by_arm) == 1 else arm]
        return torch.zeros_like(t) if process is None else process.cumulative_hazard(t, cohort=cohort, arm=0)
