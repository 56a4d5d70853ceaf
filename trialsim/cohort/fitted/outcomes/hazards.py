"""A stepwise hazard that covariates and arms multiply: what event times and censoring times have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.features import Term, prior_sd
from trialsim.cohort.fitted.outcomes.effects import ArmDesign
from trialsim.cohort.fitted.outcomes.newton import Array, Mode, best_scale

HAZARD_SD = 2.0  # prior SDs, as in `fit_event`
EFFECT_SD = 2.0


@dataclass(frozen=True, slots=True)
class Follow:
    """Follow-up cut into pieces: `exposure` `[patient, piece]` days, `events` `[group, piece]`, `happened` `[patient]` 0/1, `group` `[patient]`.

    Group 0 is the reference arm, the others follow in the order of `ArmDesign.others`.
    """

    exposure: Array
    events: Array
    happened: Array
    group: NDArray[np.int64]

    @classmethod
    def of(cls, time: Array, happened: Array, breaks: Array, arms: ArmDesign) -> Follow:
        """`time` `[patient]` in days, none missing; a time at a break is in the piece that ends there."""
        edges = np.concatenate(([0.0], breaks, [np.inf]))
        exposure = np.clip(time[:, None] - edges[:-1], 0.0, np.diff(edges))
        group = (arms.treated @ np.arange(1, len(arms.others) + 1)).astype(np.int64)
        events = np.zeros((len(arms.others) + 1, len(edges) - 1))
        came = happened == 1
        np.add.at(events, (group[came], np.searchsorted(breaks, time[came])), 1.0)
        return cls(exposure, events, happened, group)

    def crude(self) -> Array:
        """The log hazard of each piece without covariates; half an event keeps it finite."""
        return np.asarray(np.log((self.events.sum(0) + 0.5) / (self.exposure.sum(0) + 1e-9)))


@dataclass(frozen=True, slots=True)
class Scales:
    """Prior SDs that the evidence chooses: of prognostic weights, of what modifies an effect, of its steps in time, and of companions' levels."""

    weights: float
    modifiers: float = 0.0
    steps: float = 0.0
    levels: float = 0.0


@dataclass(frozen=True, slots=True)
class HazardRegression:
    """log λ_j(x, a) = η_j + σ_aj + γ_a + x·β + x·ω_a + z·ν, its priors, and its likelihood with derivatives.

    Parameters are in the order η, γ, β, ω, ν, τ (arm by arm, τ and ω of arms other than the reference). `columns`
    `[patient, parameter]` are those of γ, β, ω and ν (z are the levels of companions, see `LevelDesign`). Steps are σ_a = B τ_a with B `[piece, piece − 1]` orthonormal and
    orthogonal to the pieces' events: an arm's steps average to 0 over the events, so that γ stays its log hazard ratio.
    """

    follow: Follow
    columns: Array
    n_arms: int
    terms: tuple[Term, ...]
    n_levels: int = 0

    @classmethod
    def of(
        cls, follow: Follow, arms: ArmDesign, design: Float[Tensor, "patient term"], terms: tuple[Term, ...], levels: Array | None = None
    ) -> HazardRegression:
        z = np.zeros((len(design), 0)) if levels is None else levels
        return cls(follow, np.concatenate((arms.treated, design.numpy(), arms.modifiers, z), axis=1), len(arms.others), terms, z.shape[1])

    @property
    def n_pieces(self) -> int:
        return int(self.follow.events.shape[1])

    @property
    def sizes(self) -> dict[str, int]:
        """How many parameters each site has, in order."""
        n_modifiers = int(self.columns.shape[1]) - self.n_arms - len(self.terms) - self.n_levels
        return {
            "log_hazard": self.n_pieces,
            "log_hr": self.n_arms,
            "weights": len(self.terms),
            "modifiers": n_modifiers,
            "levels": self.n_levels,
            "steps": self.n_arms * (self.n_pieces - 1),
        }

    def contrasts(self) -> Array:
        """B."""
        share = self.follow.events.sum(0) + 0.5
        return np.asarray(np.linalg.svd(share[None])[2][1:].T)

    def centre(self) -> Array:
        """The prior means."""
        return np.concatenate((self.follow.crude(), np.zeros(sum(self.sizes.values()) - self.n_pieces)))

    def sd(self, scales: Scales) -> Array:
        """The prior SDs under these scales."""
        sizes = self.sizes
        fixed = np.concatenate((np.full(self.n_pieces, HAZARD_SD), np.full(self.n_arms, EFFECT_SD)))
        chosen = [np.full(sizes[site], getattr(scales, site)) for site in ("modifiers", "levels", "steps")]
        return np.concatenate((fixed, prior_sd(self.terms).numpy() * scales.weights, *chosen))

    def log_likelihood(self, theta: Array) -> tuple[float, Array, Array]:
        """Σ δ (η_j + σ_aj + z β) − Σ_j E_ij exp(η_j + σ_aj + z β), its gradient and negative Hessian."""
        follow, n_pieces, n_groups = self.follow, self.n_pieces, self.n_arms + 1
        weights = theta[n_pieces : n_pieces + self.columns.shape[1]]
        basis = self.contrasts()
        log_rate = theta[:n_pieces] + self.steps(theta, basis)
        rate = np.exp(log_rate)
        predictor = self.columns @ weights
        risk = np.exp(predictor)
        weighted = follow.exposure * risk[:, None]
        expected = rate * np.stack([weighted[follow.group == g].sum(0) for g in range(n_groups)])
        own = (weighted * rate[follow.group]).sum(1)
        value = float((follow.events * log_rate).sum() + follow.happened @ predictor - expected.sum())
        lean = follow.events - expected
        slope = np.concatenate((lean.sum(0), (follow.happened - own) @ self.columns, (lean[1:] @ basis).ravel()))
        cross = np.stack([weighted[follow.group == g].T @ self.columns[follow.group == g] for g in range(n_groups)]) * rate[:, :, None]
        blocks = np.concatenate([np.zeros((0, n_pieces)), *(basis.T * row for row in expected[1:])])
        steps = np.concatenate([np.zeros((0, self.columns.shape[1])), *(basis.T @ part for part in cross[1:])])
        corner = np.zeros((len(blocks), len(blocks)))
        for g, row in enumerate(expected[1:]):
            part = slice(g * basis.shape[1], (g + 1) * basis.shape[1])
            corner[part, part] = (basis.T * row) @ basis
        top = np.concatenate((np.diag(expected.sum(0)), cross.sum(0), blocks.T), axis=1)
        middle = np.concatenate((cross.sum(0).T, (self.columns * own[:, None]).T @ self.columns, steps.T), axis=1)
        bottom = np.concatenate((blocks, steps, corner), axis=1)
        return value, slope, np.concatenate((top, middle, bottom))

    def steps(self, theta: Array, basis: Array) -> Array:
        """σ `[group, piece]`, 0 in the reference arm."""
        tau = theta[self.n_pieces + self.columns.shape[1] :].reshape(self.n_arms, self.n_pieces - 1)
        return np.concatenate((np.zeros((1, self.n_pieces)), tau @ basis.T))

    def best(
        self,
        weights: Sequence[float],
        modifiers: Sequence[float] = (0.0,),
        steps: Sequence[float] = (0.0,),
        levels: Sequence[float] = (0.0,),
        *,
        start: Array | None = None,
    ) -> tuple[Mode, Scales]:
        """The mode under the scales of largest evidence: of β first, with effects alike in all patients at all times, then of ω, of σ, of ν."""
        sizes = self.sizes
        options = {
            "weights": weights if self.terms else (1.0,),
            "modifiers": modifiers if sizes["modifiers"] else (0.0,),
            "steps": steps if sizes["steps"] else (0.0,),
            "levels": levels if sizes["levels"] else (0.0,),
        }
        found, start = Scales(*(choice[0] for choice in options.values())), self.centre() if start is None else start
        mode: Mode | None = None
        for part, choice in options.items():
            if mode is not None and len(choice) == 1:
                continue
            tried = [replace(found, **{part: scale}) for scale in choice]
            mode, place = best_scale(self.log_likelihood, start, centre=self.centre(), sds=[self.sd(scales) for scales in tried])
            found, start = tried[place], mode.place
        assert mode is not None
        return mode, found


def equal_shares(pieces: int) -> Array:
    """The quantiles that cut a sample into pieces of equal size."""
    return np.asarray(np.arange(1, pieces) / pieces)


def nice_step(length: float, parts: int) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most a part of a length: rounding to it tells nothing of the length itself."""
    part = length / parts
    power = 10.0 ** math.floor(math.log10(part))
    return power * max(multiple for multiple in (1.0, 2.0, 5.0) if multiple * power <= part * (1 + 1e-12))


def breaks_at(times: Array, longest: float, *, shares: Array, known: Array, parts: int = 200) -> Array:
    """Breaks at the quantiles `shares` of `times`, rounded to about a 200th of the follow-up and moved off any value that one patient alone has.

    `known` are all times in the data. So no break is a patient's own time.
    """
    step = nice_step(longest, parts)
    found = np.unique(np.round(np.quantile(times, shares) / step) * step)
    values, counts = np.unique(known, return_counts=True)
    alone = values[counts == 1]
    for part in (0.5, 0.25, 0.75, 0.125):
        found = np.where(np.isin(found, alone), found + part * step, found)
    found = found[~np.isin(found, alone)]
    return np.asarray(np.unique(found[(found > 0) & (found < longest)]))
