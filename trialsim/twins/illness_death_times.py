"""The three event times of an illness-death process of twins; kernel of `events.illness_death`.

Numbers 0, 1 and 2 of the outcome's noise are those of the times to progression, to death without it, and from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.arm_table import Arm
from trialsim.twins.event_time import EventTime, HazardRatio, Predictor

CELLS = 32


@dataclass(frozen=True, slots=True)
class Course:
    """What happened to the patients of a block: days from randomisation, infinity: never."""

    progression: Float[Tensor, "replicate patient"]
    death: Float[Tensor, "replicate patient"]
    death_after_progression: Float[Tensor, "replicate patient"]

    def time_of(self, transition: str) -> Float[Tensor, "replicate patient"]:
        """The time of what one of the process's targets names."""
        return getattr(self, transition)


class IllnessDeathTimes:
    """The process `outcome`: a law, covariates and effects for each of its three times."""

    def __init__(self, outcome: str, transitions: Mapping[str, EventTime]):
        self.outcome, self.transitions = outcome, dict(transitions)

    def course(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Course:
        """The course of every patient of a block under `arm`."""
        to_illness, to_death, onwards = (
            process.times(stream.exponential(block, n, index=index), cohort=cohort, arm=arm) for index, process in enumerate(self.transitions.values())
        )
        ill = to_illness < to_death
        after = to_illness + onwards
        return Course(to_illness.masked_fill(~ill, math.inf), torch.where(ill, after, to_death), after.masked_fill(~ill, math.inf))

    def first_hazard(self, t: Float[Tensor, "..."], *, cohort: Cohort | None, arm: int) -> Float[Tensor, "..."]:
        """The cumulative hazard of the first of progression and death."""
        return self.transitions["progression"].cumulative_hazard(t, cohort=cohort, arm=arm) + self.transitions["death"].cumulative_hazard(
            t, cohort=cohort, arm=arm
        )


class IllnessDeathEvent:
    """One target of an illness-death process, as an event time."""

    def __init__(self, process: IllnessDeathTimes, transition: str):
        self.process, self.transition = process, transition

    @property
    def effects(self) -> tuple[tuple[HazardRatio, ...], ...]:
        """What each arm does to the hazards that the event time depends on, by arm."""
        used = ("progression", "death") if self.transition == "progression" else tuple(self.process.transitions)
        return tuple(zip(*(self.process.transitions[name].effects for name in used), strict=True))

    @property
    def predictor(self) -> Predictor | None:
        """What covariates do to one of the hazards, the event's own if they move it; None where they move none."""
        own = self.process.transitions[self.transition].predictor
        return own or next((process.predictor for process in self.process.transitions.values() if process.predictor is not None), None)

    @property
    def prognosis(self) -> Predictor | None:
        """The log hazard ratio of the event's own law given the covariates."""
        return self.process.transitions[self.transition].predictor

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        return self.process.course(stream, block, n, cohort=cohort, arm=arm).time_of(self.transition)

    def cumulative_hazard(self, t: Float[Tensor, "..."], *, cohort: Cohort | None, arm: int) -> Float[Tensor, "..."]:
        """-log P(event after t). With S the survival free of both events and u the time of progression,

            P(progressed by t) = integral of S(u) dH_p(u),   P(died of it by t) = integral of S(u) (1 - S_a(t - u)) dH_p(u)

        by the midpoint rule in 32 and 64 cells of [0, t], even in the root of the time and extrapolated (to about 1e-7).
        """
        (few_ill, few_died), (ill, died) = (self._by_midpoints(t, cells, cohort, arm) for cells in (CELLS, 2 * CELLS))
        ill, died = (4.0 * ill - few_ill) / 3.0, (4.0 * died - few_died) / 3.0
        if self.transition == "progression":
            return -torch.log1p(-ill)
        if self.transition == "death_after_progression":
            return -torch.log1p(-died)
        return -torch.log(self.process.first_hazard(t, cohort=cohort, arm=arm).neg().exp() + ill - died)

    def _by_midpoints(self, t: Tensor, cells: int, cohort: Cohort | None, arm: int) -> tuple[Tensor, Tensor]:
        """P(progressed by t) and P(died after progression by t)."""
        progression, after = self.process.transitions["progression"], self.process.transitions["death_after_progression"]
        ill = died = torch.zeros((1, 1), dtype=torch.float64, device=t.device)
        before = progression.cumulative_hazard(t * 0.0, cohort=cohort, arm=arm)
        for cell in range(cells):
            reached = progression.cumulative_hazard(t * ((cell + 1) / cells) ** 2, cohort=cohort, arm=arm)
            u = t * ((cell + 0.5) / cells) ** 2
            mass = (reached - before) * self.process.first_hazard(u, cohort=cohort, arm=arm).neg().exp()
            before, ill = reached, ill + mass
            died = died - mass * torch.expm1(-after.cumulative_hazard(t - u, cohort=cohort, arm=arm))
        return ill, died
