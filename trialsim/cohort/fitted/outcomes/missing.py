"""Whether an outcome is seen: a probit regression on the baseline and the arm, and a day before which nobody has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri
from torch import Tensor

from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, prior_sd
from trialsim.cohort.fitted.outcomes.companions import LEVEL_SCALES, Effects, LevelDesign, effects_as_json, effects_from_json
from trialsim.cohort.fitted.outcomes.effects import ArmDesign
from trialsim.cohort.fitted.outcomes.hazards import nice_step
from trialsim.cohort.fitted.outcomes.newton import Array, best_scale

RARE = 5
_PER_TERM = 20  # fewer missing cells than this per 28 terms: no covariates
_FIXED_SD = 2.0
_SHARE, _COUNT, _STEPS = 0.97, 20, 100


@dataclass(frozen=True, slots=True)
class FittedMissing:
    """A cell is missing where its score is below `intercept` + its arm's `arm_shift` + the weighted terms + what companions add (on the probit scale).

    It is also missing for patients censored before `before` days: their value would have come later.
    """

    intercept: float
    arm_shift: Mapping[str, float]
    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    prior_scale: float
    follows: str | None = None
    before: float = 0.0
    companions: Effects = field(default_factory=dict)
    level_scale: float = 0.0

    def store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "intercept": self.intercept,
            "arm_shift": list(self.arm_shift.items()),
            "terms": [term.as_json() for term in self.terms],
            "weights": list(self.weights),
            "prior_scale": self.prior_scale,
            "follows": self.follows,
            "before": self.before,
            "companions": effects_as_json(self.companions),
            "level_scale": self.level_scale,
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FittedMissing:
        """What `store` wrote."""
        return cls(
            intercept=given["intercept"],
            arm_shift=dict(given["arm_shift"]),
            terms=tuple(Term.from_json(term) for term in given["terms"]),
            weights=tuple(given["weights"]),
            prior_scale=given["prior_scale"],
            follows=given["follows"],
            before=given["before"],
            companions=effects_from_json(given["companions"]),
            level_scale=given["level_scale"],
        )


def fit_missing(
    missing: NDArray[np.bool_],
    *,
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
    follow_up: Mapping[str, tuple[Array, Array]],
    prior_scales: Sequence[float] = PRIOR_SCALES,
    levels: LevelDesign | None = None,
    level_scales: Sequence[float] = LEVEL_SCALES,
) -> tuple[FittedMissing, Array]:
    """The law of a missing cell, and each patient's threshold `[patient]` (NaN where the cell had to be missing).

    First the day before which (nearly) all of the censored lack the value, if there is one, in any of the events' `follow_up` (time, event);
    then, among the others, a probit regression P(missing) = Φ(α + δ_a + x β + z ν) with the priors of a value's regression,
    its mode by Newton's method. With fewer than 20 missing cells there are no covariates.
    """
    follows, before = _never_seen(missing, follow_up)
    free = np.ones(len(missing), dtype=bool)
    if follows is not None:
        time, event = follow_up[follows]
        free = ~((event == 0) & (time < before))
    shift = ArmDesign.of(arms=arms, reference=reference, arm=arm[free], terms=(), design=design[torch.from_numpy(free)][:, :0])
    used = terms if missing[free].sum() >= _PER_TERM and (~missing[free]).sum() >= _PER_TERM else ()
    x = design.numpy()[free][:, : len(used)]
    treated = shift.treated if used else shift.treated[:, :0]
    levels = levels or LevelDesign.of(None, arms=arms, arm=arm)
    z = levels.columns[free] if used else levels.columns[free][:, :0]
    columns = np.concatenate((np.ones((len(x), 1)), treated, x, z), axis=1)
    sign = np.where(missing[free], 1.0, -1.0)
    prior = prior_sd(used).numpy()
    start = np.zeros(columns.shape[1])
    start[0] = ndtri((missing[free].sum() + 0.5) / (free.sum() + 1.0))

    def log_likelihood(theta: Array) -> tuple[float, Array, Array]:
        at = sign * (columns @ theta)
        log_p = log_ndtr(at)
        mills = np.exp(-0.5 * at**2 - log_p) / np.sqrt(2.0 * np.pi)
        return float(log_p.sum()), columns.T @ (sign * mills), (columns * (mills * (mills + at))[:, None]).T @ columns

    def sd_of(scale: float, level_scale: float = 0.0) -> Array:
        return np.concatenate((np.full(1 + treated.shape[1], _FIXED_SD), prior * scale, np.full(z.shape[1], level_scale)))

    scales = prior_scales if used else (1.0,)
    level_scales = level_scales if z.shape[1] else (0.0,)
    mode, place = best_scale(log_likelihood, start, centre=np.zeros_like(start), sds=[sd_of(scale) for scale in scales])
    scale = scales[place]
    mode, place = best_scale(log_likelihood, mode.place, centre=np.zeros_like(start), sds=[sd_of(scale, each) for each in level_scales])
    names = shift.others if used else ()
    shifts = dict(zip(names, mode.place[1 : 1 + len(names)].tolist(), strict=True))
    weights = mode.place[1 + len(names) :][: len(used)]
    threshold = np.full(len(missing), np.nan)
    threshold[free] = columns @ mode.place
    law = FittedMissing(
        intercept=float(mode.place[0]),
        arm_shift={name: shifts.get(name, 0.0) for name in arms},
        terms=used,
        weights=tuple(weights.tolist()),
        prior_scale=scale,
        follows=follows,
        before=before,
        companions=levels.effects(mode.place[len(mode.place) - z.shape[1] :]) if z.shape[1] else {},
        level_scale=level_scales[place],
    )
    return law, threshold


def _never_seen(missing: NDArray[np.bool_], follow_up: Mapping[str, tuple[Array, Array]]) -> tuple[str | None, float]:
    """The event and the latest day (a round number) such that 97 % of those censored before it lack the value."""
    best: tuple[int, str | None, float] = (0, None, 0.0)
    overall = missing.mean()
    for name, (time, event) in follow_up.items():
        censored = event == 0
        if not censored.any() or overall > _SHARE:
            continue
        longest = float(np.nanmax(time))
        step = nice_step(longest, _STEPS)
        for day in np.arange(step, longest, step):
            early = censored & (time < day)
            n = int(early.sum())
            if n >= _COUNT and missing[early].mean() >= _SHARE and n > best[0]:
                best = n, name, float(day)
    return best[1], best[2]
