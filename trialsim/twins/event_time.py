"""Event times of twins: one unit exponential per patient, seen through the hazard of every arm.

With baseline cumulative hazard H, linear predictor eta and the arm's hazard ratio r(s), the arm's cumulative hazard is

    H_arm(t) = exp(eta) * integral from 0 to t of r(s) dH(s)

and the event time solves H_arm(T) = E. On the scale x = E * exp(-eta) the inverse of the integral is piecewise linear,

    y = x / r_0 + sum over breaks j of max(x - A_j, 0) * (1 / r_j - 1 / r_{j-1}),   A_j = integral from 0 to break j of r dH

and T is H's inverse at y. An arm without an effect has y = x exactly, so its times do not change with other arms' effects.

**Source:** Bender, Augustin, Blettner 2005, Stat Med 24:1713, doi 10.1002/sim.2059 (inversion under proportional hazards).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.records import Cohort
from trialsim.twins.arm_table import Arm, ByCategory, category_tables, pick


class HazardLaw(Protocol):
    """A baseline law of event times."""

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]: ...

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]: ...


class Predictor(Protocol):
    """A log hazard (or expected value) given the baseline; None where it is zero for everyone."""

    def __call__(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"] | None: ...


@dataclass(frozen=True, slots=True)
class HazardRatio:
    """An arm's hazard ratio against the reference process: steps in time (`breaks` in days), or by a baseline category."""

    breaks: tuple[float, ...] = ()
    ratios: tuple[float, ...] = (1.0,)
    by: ByCategory | None = None


NO_EFFECT = HazardRatio()


class EventTime:
    """An event-time outcome: a law, a linear predictor, and a hazard ratio per arm (in protocol order)."""

    def __init__(self, law: HazardLaw, predictor: Predictor | None, effects: Sequence[HazardRatio]):
        self.law, self.predictor, self.effects = law, predictor, tuple(effects)
        self._by = category_tables([None if effect.by is None else _inverted(effect.by) for effect in effects], neutral=1.0)
        self._first = torch.tensor([1.0 / effect.ratios[0] for effect in effects], dtype=torch.float64, device="cpu")
        self._scales = bool((self._first != 1.0).any())
        n_breaks = max(len(effect.breaks) for effect in effects)
        reached = torch.full((n_breaks, len(effects)), math.inf, dtype=torch.float64, device="cpu")
        change = torch.zeros((n_breaks, len(effects)), dtype=torch.float64, device="cpu")
        for column, effect in enumerate(effects):
            total, start = 0.0, 0.0
            for j, end in enumerate(effect.breaks):
                hazard = float(law.cumulative_hazard(torch.tensor([end], dtype=torch.float64, device="cpu"))[0])
                total += effect.ratios[j] * (hazard - start)
                start = hazard
                reached[j, column] = total
                change[j, column] = 1.0 / effect.ratios[j + 1] - 1.0 / effect.ratios[j]
        self._steps = tuple(zip(reached.unbind(), change.unbind(), strict=True))  # by break: a number per arm

    def times(self, exponentials: Float[Tensor, "replicate patient"], *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """Days from randomisation to the event (infinity: never). Overwrites `exponentials`, which the caller has just drawn."""
        x = exponentials
        eta = None if self.predictor is None else self.predictor(cohort)
        if eta is not None:
            x = x.mul_(eta.neg().exp_())
        for table in self._by:
            assert cohort is not None
            x = x.mul_(table(cohort, arm))
        return self.law.inverse_cumulative_hazard(self._undo_ratio(x, arm))

    def _undo_ratio(self, x: Tensor, arm: Arm) -> Tensor:
        """From the arm's cumulative hazard to the reference's."""
        if not self._steps:
            return x.mul_(pick(self._first, arm)) if self._scales else x
        y = x * pick(self._first, arm) if self._scales else x.clone()
        for reached, change in self._steps:
            y.add_((x - pick(reached, arm)).clamp_(min=0.0).mul_(pick(change, arm)))
        return y

    def cumulative_hazard(self, t: Float[Tensor, "..."], *, cohort: Cohort | None, arm: int) -> Float[Tensor, "..."]:
        """H_arm at t, which broadcasts against [replicate, patient]."""
        effect = self.effects[arm]
        base = self.law.cumulative_hazard(t)
        total = base * effect.ratios[0]
        for j, end in enumerate(effect.breaks):
            at_break = self.law.cumulative_hazard(torch.tensor([end], dtype=torch.float64, device=t.device))
            total = total + (base - at_break).clamp_(min=0.0) * (effect.ratios[j + 1] - effect.ratios[j])
        eta = None if self.predictor is None else self.predictor(cohort)
        if eta is not None:
            total = total * eta.exp()
        for table in self._by:
            assert cohort is not None
            total = total / table(cohort, arm)
        return total


def _inverted(by: ByCategory) -> ByCategory:
    return ByCategory(by.covariate, by.codes, tuple(1.0 / value for value in by.values))
