"""Events of twins that come again: a Poisson process per patient whose rate a gamma frailty multiplies.

With cumulative rate H_arm (rate, covariates and the arm's effect, as for an event time), frailty g of mean 1 and variance k,
and S_j the sum of the first j unit exponentials, the j-th event falls where g * H_arm(T_j) = S_j. So the number of events by
t has mean H_arm(t) and variance H_arm(t) + k * H_arm(t) ** 2, and the first falls after t with probability
(1 + k * H_arm(t)) ** (-1 / k). The frailty is number 0 of the outcome's noise, the wait for the j-th event number j.

**Source:** Lawless 1987, Can J Stat 15:209, doi 10.2307/3314912; Cook & Lawless 2007, ISBN 9780387698090, ch. 2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.tensors import at_most
from trialsim.twins.arm_table import Arm
from trialsim.twins.count_value import frailty
from trialsim.twins.event_time import EventTime, Predictor


class Recurrence:
    """The recurrent events of an outcome. `waits` turns g * H into a time: an event time of the same rate, covariates and effects."""

    def __init__(self, waits: EventTime, dispersion: float):
        self.waits, self.dispersion = waits, dispersion

    def course(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Course:
        """The events of a block's patients under `arm`, as many of them as will be asked for."""
        return Course(self, stream, block, n, cohort, arm)

    def mean(self, day: float, cohort: Cohort | None, arm: int) -> Float[Tensor, "replicate patient"]:
        """The expected number of events by `day` under an arm; of shape [1, 1] where it is the same for everyone."""
        return self.waits.cumulative_hazard(
            torch.full((1, 1), day, dtype=torch.float64, device="cpu" if cohort is None or not cohort.columns else next(iter(cohort.columns.values())).device),
            cohort=cohort,
            arm=arm,
        )


class Course:
    """The events of the patients of one block. Later ones are drawn when they are asked for; what was drawn does not change."""

    def __init__(self, recurrence: Recurrence, stream: Stream, block: Block, n: int, cohort: Cohort | None, arm: Arm):
        self._recurrence, self._stream, self._block, self._n, self._cohort, self._arm = recurrence, stream, block, n, cohort, arm
        self._times: list[Tensor] = []
        self._reached: Tensor | None = None
        self._frailty = frailty(stream.uniform(block, n), recurrence.dispersion) if recurrence.dispersion > 0.0 else None

    def event(self, number: int) -> Float[Tensor, "replicate patient"]:
        """The time of every patient's event `number` (from 1), in days since randomisation; infinity: never."""
        while len(self._times) < number:
            wait = self._stream.exponential(self._block, self._n, index=len(self._times) + 1)
            self._reached = wait if self._reached is None else self._reached + wait
            scaled = self._reached.clone() if self._frailty is None else self._reached / self._frailty
            self._times.append(self._recurrence.waits.times(scaled, cohort=self._cohort, arm=self._arm))
        return self._times[number - 1]

    def within(self, end: Float[Tensor, "row patient"], rows: Tensor | None = None) -> list[Float[Tensor, "row patient"]]:
        """The times of events 1, 2, … up to the last that any patient has by `end` (negative: none); infinite where later. `rows`: of the block."""
        found: list[Tensor] = []
        while True:
            time = self.event(len(found) + 1)
            time = time if rows is None else time[rows]
            seen = at_most(time, end)
            if not bool(seen.any()):
                return found
            found.append(torch.where(seen, time, torch.inf))

    def count(self, end: Float[Tensor, "row patient"], rows: Tensor | None = None) -> Float[Tensor, "row patient"]:
        """How many events every patient has by `end`."""
        total = torch.zeros_like(end)
        for time in self.within(end, rows):
            total += torch.isfinite(time)
        return total


class FirstEvent:
    """The first of recurrent events, as an event time."""

    def __init__(self, recurrence: Recurrence):
        self.recurrence = recurrence
        self.effects = recurrence.waits.effects

    @property
    def predictor(self) -> Predictor | None:
        """The log rate given the baseline."""
        return self.recurrence.waits.predictor

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        return self.recurrence.course(stream, block, n, cohort=cohort, arm=arm).event(1)

    def cumulative_hazard(self, t: Float[Tensor, "..."], *, cohort: Cohort | None, arm: int) -> Float[Tensor, "..."]:
        """-log P(first event > t) over the frailty."""
        hazard, k = self.recurrence.waits.cumulative_hazard(t, cohort=cohort, arm=arm), self.recurrence.dispersion
        return hazard if k == 0.0 else torch.log1p(hazard * k) / k


class CountToVisit:
    """The number of recurrent events by a visit, as a value."""

    def __init__(self, recurrence: Recurrence, day: float):
        self.recurrence, self.day = recurrence, day

    def expected(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The log rate ratio of every patient under the reference process, against a patient at the centre of every covariate."""
        predictor = self.recurrence.waits.predictor
        eta = None if predictor is None else predictor(cohort)
        return torch.zeros((1, 1), dtype=torch.float64, device="cpu") if eta is None else eta

    def mean(self, cohort: Cohort | None, arm: int) -> Float[Tensor, "replicate patient"]:
        """The expected count under `arm`."""
        return self.recurrence.mean(self.day, cohort, arm)

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The count of every patient under `arm`."""
        end = torch.full((block.size, n), self.day, dtype=torch.float64, device=stream.device)
        return self.recurrence.course(stream, block, n, cohort=cohort, arm=arm).count(end)

    def same(self, arm: int, reference: int) -> bool:
        return self.recurrence.waits.effects[arm] == self.recurrence.waits.effects[reference]
