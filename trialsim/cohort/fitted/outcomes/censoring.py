"""When follow-up ends without an event: a finely stepped hazard of censoring, with atoms where many end together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.features import PRIOR_SCALES, Term
from trialsim.cohort.fitted.outcomes.companions import LEVEL_SCALES, Effects, LevelDesign, effects_as_json, effects_from_json
from trialsim.cohort.fitted.outcomes.effects import ArmDesign
from trialsim.cohort.fitted.outcomes.hazards import Follow, HazardRegression, breaks_at, equal_shares, nice_step
from trialsim.cohort.fitted.outcomes.newton import Array

PIECES = 40
_PARTS = 400
_PER_PIECE = 10
ATOM_SHARE, ATOM_COUNT = 0.01, 10


@dataclass(frozen=True, slots=True)
class FittedCensoring:
    """The time at which follow-up would end, given the baseline and the arm, whatever event comes before.

    Its cumulative hazard at linear predictor 0 is linear between `times` (days, from 0), where it reaches `reached`; two
    equal times are a jump, an atom at which many are censored together. At the last time everybody is. `arm_log_hr`, `terms` and `weights`
    multiply it as in an event, `companions` as in a `VariedHazard`.
    """

    times: tuple[float, ...]
    reached: tuple[float, ...]
    arm_log_hr: Mapping[str, float]
    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    prior_scale: float
    companions: Effects = field(default_factory=dict)
    level_scale: float = 0.0

    def cumulative_hazard(self, t: Array) -> Array:
        """At linear predictor 0, just before an atom; for t up to the last time."""
        place = np.searchsorted(self.times, t).clip(max=len(self.times) - 1)
        return np.where(np.array(self.times)[place] == t, np.array(self.reached)[place], self.cumulative_hazard_after(t))

    def cumulative_hazard_after(self, t: Array) -> Array:
        """At linear predictor 0, with an atom at t included."""
        return np.asarray(np.interp(t, self.times, self.reached))

    def time(self, h: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time at which the cumulative hazard reaches h > 0, the last time where it never does."""
        starts, reached = (torch.tensor(row, dtype=torch.float64, device=h.device) for row in (self.times, self.reached))
        piece = torch.bucketize(h, reached[1:-1], right=False)
        slope = (starts[1:] - starts[:-1]) / (reached[1:] - reached[:-1])
        return (h - reached[piece]).mul_(slope[piece]).add_(starts[piece]).clamp_(max=self.times[-1])

    def store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "times": list(self.times),
            "reached": list(self.reached),
            "log_hr": list(self.arm_log_hr.items()),
            "terms": [term.as_json() for term in self.terms],
            "weights": list(self.weights),
            "prior_scale": self.prior_scale,
            "companions": effects_as_json(self.companions),
            "level_scale": self.level_scale,
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FittedCensoring:
        """What `store` wrote."""
        return cls(
            times=tuple(given["times"]),
            reached=tuple(given["reached"]),
            arm_log_hr=dict(given["log_hr"]),
            terms=tuple(Term.from_json(term) for term in given["terms"]),
            weights=tuple(given["weights"]),
            prior_scale=given["prior_scale"],
            companions=effects_from_json(given["companions"]),
            level_scale=given["level_scale"],
        )


def fit_censoring(
    time: Array,
    event: Array,
    *,
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
    prior_scales: Sequence[float] = PRIOR_SCALES,
    levels: LevelDesign | None = None,
    level_scales: Sequence[float] = LEVEL_SCALES,
) -> FittedCensoring | None:
    """The law of the censoring time, an event of its own which the event of interest censors; None where nobody is censored.

    The regression of `fit_event` (its mode alone, by Newton's method), with up to 40 pieces at the quantiles of the
    censored times. A time at which 1 % (and 10) of the censored end together is an atom: everyone followed that long
    ends there with probability 1 − exp(−λ exp(lp)). Beyond the longest follow-up (rounded up to a round number) nobody is followed.
    Times and the arguments are as in `fit_event`. Censoring is independent of the event given the baseline and the arm.
    """
    seen = ~np.isnan(time) & ~np.isnan(event)
    time, ended, x = time[seen], 1.0 - event[seen], design[torch.from_numpy(seen)]
    if not ended.any():
        return None
    last, longest = time[ended == 1], float(time.max())
    values, counts = np.unique(last, return_counts=True)
    atoms = values[counts >= max(ATOM_COUNT, ATOM_SHARE * len(last))]
    free = last[~np.isin(last, atoms)]
    pieces = int(min(PIECES, max(1, len(free) // _PER_PIECE)))
    breaks = breaks_at(free, longest, shares=equal_shares(pieces), known=time, parts=_PARTS) if len(free) else np.zeros(0)
    arm_design = ArmDesign.of(arms=arms, reference=reference, arm=arm[seen], terms=terms, design=x)
    follow = _with_atoms(Follow.of(time, ended * ~np.isin(time, atoms), breaks, arm_design), time, ended, atoms)
    levels = levels or LevelDesign.of(None, arms=arms, arm=arm)
    regression = HazardRegression.of(follow, arm_design, x, terms, levels.columns[seen])
    mode, scales = regression.best(prior_scales, levels=level_scales)
    hazard, weights = np.exp(mode.place[: regression.n_pieces]), mode.place[regression.n_pieces :][: regression.columns.shape[1]]
    risk = np.exp(regression.columns @ weights)
    jumps = [_jump(risk * follow.exposure[:, place], follow.events[:, place].sum()) for place in range(len(breaks) + 1, regression.n_pieces)]
    times, reached = _path(breaks, hazard[: len(breaks) + 1], atoms, jumps, horizon=_horizon(longest, atoms))
    names = arm_design.others
    found = dict(zip(names, weights[: len(names)].tolist(), strict=True))
    return FittedCensoring(
        times=times,
        reached=reached,
        arm_log_hr={name: found.get(name, 0.0) for name in arms},
        terms=terms,
        weights=tuple(weights[len(names) : len(names) + len(terms)].tolist()),
        prior_scale=scales.weights,
        companions=levels.effects(weights[regression.columns.shape[1] - regression.n_levels :]),
        level_scale=scales.levels,
    )


def _with_atoms(follow: Follow, time: Array, ended: Array, atoms: Array) -> Follow:
    """Every atom as one more piece, in which all who are followed until then, without an event at that time, spend one day."""
    reached = (time[:, None] >= atoms) & ~((time[:, None] == atoms) & (ended[:, None] == 0))
    at = ((time[:, None] == atoms) & (ended[:, None] == 1)).astype(np.float64)
    n = np.stack([at[follow.group == group].sum(0) for group in range(len(follow.events))])
    return Follow(np.concatenate((follow.exposure, reached.astype(np.float64)), axis=1), np.concatenate((follow.events, n), axis=1), ended, follow.group)


def _horizon(longest: float, atoms: Array) -> float:
    """The longest follow-up: an atom where it is one, else rounded up, so that it is nobody's own."""
    step = nice_step(longest, 100)
    return longest if longest in atoms else float((np.floor(longest / step) + 1.0) * step)


def _jump(risk: Array, ended: float) -> float:
    """The jump of the cumulative hazard at which the expected number who end there is `ended`, by bisection."""
    low, high = 0.0, 60.0
    at_risk = risk[risk > 0]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (-np.expm1(-middle * at_risk)).sum() < min(ended, len(at_risk) - 1e-6) else (low, middle)
    return (low + high) / 2


def _path(breaks: Array, hazards: Array, atoms: Array, jumps: Sequence[float], *, horizon: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The cumulative hazard as corners: times and what is reached there, jumps included."""
    corners = np.unique(np.concatenate(([0.0], breaks, atoms, [horizon])))
    corners = corners[corners <= horizon]
    times, reached = [0.0], [0.0]
    for before, after in pairwise(corners):
        hazard = hazards[np.searchsorted(breaks, before, side="right")]
        times.append(float(after))
        reached.append(reached[-1] + float(hazard * (after - before)) + 1e-12)
        for jump in np.array(jumps)[atoms == after]:
            times.append(float(after))
            reached.append(reached[-1] + float(jump) + 1e-12)
    return tuple(times), tuple(reached)
