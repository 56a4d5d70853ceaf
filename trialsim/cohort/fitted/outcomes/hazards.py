"""A stepwise hazard that covariates and arms multiply: what event times and censoring times have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, prior_sd
from trialsim.cohort.fitted.outcomes.effects import MODIFIER_SCALES, ArmDesign
from trialsim.cohort.fitted.outcomes.newton import Array, Mode, best_scale, find_mode

GRID = 200  # breaks are multiples of this part of the follow-up
HAZARD_SD = 2.0  # prior SDs, as in `fit_event`
EFFECT_SD = 2.0


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow-up cut into pieces: `exposure` `[patient, piece]` days, `events` per piece, `happened` `[patient]` 0/1."""

    exposure: Array
    events: Array
    happened: Array

    @classmethod
    def of(cls, time: Array, happened: Array, breaks: Array) -> Follow:
        """`time` `[patient]` in days, none missing; a time at a break is in the piece that ends there."""
        edges = np.concatenate(([0.0], breaks, [np.inf]))
        exposure = np.clip(time[:, None] - edges[:-1], 0.0, np.diff(edges))
        events = np.bincount(np.searchsorted(breaks, time[happened == 1]), minlength=len(edges) - 1).astype(np.float64)
        return cls(exposure, events, happened)

    def crude(self) -> Array:
        """The log hazard of each piece without covariates; half an event keeps it finite."""
        return np.asarray(np.log((self.events + 0.5) / (self.exposure.sum(0) + 1e-9)))


@dataclass(frozen=True, slots=True)
class HazardRegression:
    """log λ_j(x, a) = η_j + γ_a + x·β + x·ω_a, its priors, and its likelihood with derivatives.

    Parameters are in this order: η, γ, β, ω. `columns` `[patient, parameter]` are those of γ, β and ω.
    """

    follow: Follow
    columns: Array
    n_arms: int
    terms: tuple[Term, ...]

    @classmethod
    def of(cls, follow: Follow, arms: ArmDesign, design: Float[Tensor, "patient term"], terms: tuple[Term, ...]) -> HazardRegression:
        return cls(follow, np.concatenate((arms.treated, design.numpy(), arms.modifiers), axis=1), len(arms.others), terms)

    @property
    def n_pieces(self) -> int:
        return len(self.follow.events)

    @property
    def n_modifiers(self) -> int:
        return int(self.columns.shape[1]) - self.n_arms - len(self.terms)

    def centre(self) -> Array:
        return np.concatenate((self.follow.crude(), np.zeros(self.columns.shape[1])))

    def sd(self, scale: float, modifier_scale: float) -> Array:
        """The prior SDs under these scales."""
        fixed = np.concatenate((np.full(self.n_pieces, HAZARD_SD), np.full(self.n_arms, EFFECT_SD)))
        return np.concatenate((fixed, prior_sd(self.terms).numpy() * scale, np.full(self.n_modifiers, modifier_scale)))

    def log_likelihood(self, theta: Array) -> tuple[float, Array, Array]:
        """Σ δ (η_j + z β) − Σ_j E_ij exp(η_j + z β), its gradient and negative Hessian."""
        hazard, weights = np.exp(theta[: self.n_pieces]), theta[self.n_pieces :]
        predictor = self.columns @ weights
        risk = np.exp(predictor)
        expected = hazard * (risk @ self.follow.exposure)
        own = risk * (self.follow.exposure @ hazard)
        value = float(self.follow.events @ theta[: self.n_pieces] + self.follow.happened @ predictor - expected.sum())
        slope = np.concatenate((self.follow.events - expected, (self.follow.happened - own) @ self.columns))
        cross = (self.follow.exposure * risk[:, None]).T @ self.columns * hazard[:, None]
        corner = (self.columns * own[:, None]).T @ self.columns
        return value, slope, np.block([[np.diag(expected), cross], [cross.T, corner]])

    def best(self, scales: Sequence[float], modifier_scales: Sequence[float]) -> tuple[Mode, float, float]:
        """The mode under the scales of largest evidence: that of β first, without modifiers, then that of ω."""
        scales, modifier_scales = (scales if self.terms else (1.0,)), (modifier_scales if self.n_modifiers else (0.0,))
        mode, scale = best_scale(self.log_likelihood, self.centre(), centre=self.centre(), sd_of=lambda s: self.sd(s, min(modifier_scales)), scales=scales)
        if len(modifier_scales) > 1:
            mode, modifier_scale = best_scale(self.log_likelihood, mode.place, centre=self.centre(), sd_of=lambda s: self.sd(scale, s), scales=modifier_scales)
            return mode, scale, modifier_scale
        return find_mode(self.log_likelihood, mode.place, centre=self.centre(), sd=self.sd(scale, modifier_scales[0])), scale, modifier_scales[0]


def breaks_at(times: Array, longest: float, *, pieces: int, known: Array) -> Array:
    """Breaks at the quantiles of `times`, on a grid of 1/200 of the follow-up, moved by parts of its step off any value one patient alone has.

    `known` are all times in the data. So no break is a patient's own time.
    """
    step = longest / GRID
    step = max(round(step), 1) if longest > GRID else step
    found = np.unique(np.round(np.quantile(times, np.arange(1, pieces) / pieces) / step) * step)
    values, counts = np.unique(known, return_counts=True)
    alone = values[counts == 1]
    for part in (0.5, 0.25, 0.75, 0.125):
        found = np.where(np.isin(found, alone), found + part * step, found)
    found = found[~np.isin(found, alone)]
    return np.asarray(np.unique(found[(found > 0) & (found < longest)]))


__all__ = ["EFFECT_SD", "HAZARD_SD", "MODIFIER_SCALES", "PRIOR_SCALES", "Follow", "HazardRegression", "breaks_at"]
