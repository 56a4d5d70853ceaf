"""What happens to the patients of one block under the arms they are assigned; what several endpoints share is drawn once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins.arm_table import Arm
from trialsim.twins.model import TwinModel
from trialsim.twins.recurrence import Course


@dataclass
class Nature:
    """`measured` gives, by outcome, the visits at which some endpoint measures it, in order of time; `dropout` the loss to follow-up."""

    model: TwinModel
    streams: Streams
    block: Block
    n: int
    cohort: Cohort
    arm: Arm
    dropout: Float[Tensor, "replicate patient"] | None
    measured: Mapping[str, Sequence[str]]
    _values: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _courses: dict[str, Course] = field(default_factory=dict)

    @property
    def _who(self) -> dict[str, Any]:
        return {"streams": self.streams, "block": self.block, "n": self.n, "cohort": self.cohort, "arm": self.arm}

    def times(self, outcomes: Sequence[str]) -> list[Float[Tensor, "replicate patient"]]:
        """The times of these events."""
        return self.model.event_times(outcomes, **self._who)

    def end_of_follow_up(self, outcomes: Sequence[str]) -> Float[Tensor, "replicate patient"] | None:
        """Loss to follow-up, or the death that ends the follow-up of these events."""
        death = self.model.end_of_follow_up(outcomes, **self._who)
        return self.dropout if death is None else death if self.dropout is None else torch.minimum(death, self.dropout)

    def course(self, outcome: str) -> Course:
        """The events of an outcome that come again."""
        if outcome not in self._courses:
            self._courses[outcome] = self.model.recurrent_events(outcome, **self._who)
        return self._courses[outcome]

    def value(self, outcome: str, visit: str) -> Float[Tensor, "replicate patient"]:
        """The outcome at a visit."""
        known = self._values.setdefault(outcome, {})
        if visit not in known:
            wanted = [at for at in self.measured.get(outcome, ()) if at not in known]
            known |= self.model.values(outcome, wanted if visit in wanted else [visit], **self._who)
        return known[visit]

    def missing(self, outcome: str) -> Mapping[str, Bool[Tensor, "replicate patient"]]:
        """By visit, whose value is missing though they came."""
        if not self.model.has_missing_values(outcome):
            return {}
        values = {visit: self.value(outcome, visit) for visit in self.measured[outcome]}
        who = {name: item for name, item in self._who.items() if name != "arm"}
        return self.model.missing_values(outcome, values, self.model.start(outcome, self.cohort), **who)
