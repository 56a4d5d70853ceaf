"""Fits every outcome of a table, and then what is left of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from trialsim.cohort.fitted.dependence.gaussian_factors import GaussianFactors
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.links import nearest_correlation
from trialsim.cohort.fitted.margins import Array, Scores
from trialsim.cohort.fitted.outcomes.calibration import calibrated
from trialsim.cohort.fitted.outcomes.censoring import FittedCensoring, fit_censoring
from trialsim.cohort.fitted.outcomes.companions import Companions, Effects, LevelDesign
from trialsim.cohort.fitted.outcomes.events import FittedEvent, fit_event
from trialsim.cohort.fitted.outcomes.missing import RARE, FittedMissing, fit_missing
from trialsim.cohort.fitted.outcomes.outcomes import FittedOutcomes, Outcome
from trialsim.cohort.fitted.outcomes.spread import Spread, fit_spread
from trialsim.cohort.fitted.outcomes.values import FittedValue, fit_value
from trialsim.errors import DataError, Problem

FARTHEST = 6.0  # of a score
_GRID = 0.05  # ends of intervals are rounded to this
_LEAST_UNIQUE = 0.02
_SOFT = 0.1  # of the mean: where a quantity that is never negative is bent away from 0


def fit_outcomes(
    *,
    events: Mapping[str, tuple[Array, Array]],
    values: Mapping[Outcome, Array],
    baselines: Mapping[str, str],
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
    companions: Companions | None = None,
    like: FittedOutcomes | None = None,
) -> FittedOutcomes:
    """Every outcome given the baseline and the arm, then the copula of what is left, then `calibrated`.

    `events` are (time in days, event 0/1), `values` by outcome and visit, all `[patient]` with NaN where missing;
    `baselines` name the covariate that is an outcome's value at baseline. `arm` is each patient's place in `arms`;
    `terms` and `design` see their baseline, complete. `companions` divide arms: what their levels add within an arm is shrunk to
    none unless the evidence asks for it, and no trial sees it. `like`, fitted to other rows of the same data, gives the scales of
    the priors and where the climb of the copula starts, so that fitting again takes a fraction of the time.

    Values are treated as continuous (binary and ordinal ones come out as numbers between their levels). Raises DataError
    where no time of an event is above 0.

    **Source:** Cox & Snell 1968, JRSS-B 30:248 (residuals); Song, Li & Yuan 2009, Biometrics 65:60, doi
    10.1111/j.1541-0420.2008.01058.x (joint regression by Gaussian copulas).
    """
    still = [name for name, (time, _) in events.items() if not np.nanmax(time, initial=0.0) > 0]
    if still:
        raise DataError([Problem(f'the outcome "{name}" has no follow-up: no time is above 0') for name in still])
    common: dict[str, Any] = {"arms": arms, "reference": reference, "arm": arm, "terms": terms, "design": design}
    common["levels"] = LevelDesign.of(companions, arms=arms, arm=arm)
    fits = _Fits(arm=arm, arms=arms, design=design, companions=companions, common=common, like=like)
    for name, (time, event) in events.items():
        fits.event(name, time, event)
    for key, value in values.items():
        fits.value(key, value, baselines.get(key[0]))
    for name, (time, event) in events.items():
        fits.censored(name, time, event)
    follow_up = dict(events)
    for key, value in values.items():
        fits.gone(key, np.isnan(value), follow_up)
    for name, (time, event) in events.items():
        fits.gone((name, ""), np.isnan(time) | np.isnan(event), {})
    return calibrated(fits.together(), design=design, arm=arm, values=values, companions=companions)


class _Fits:
    """The outcomes fitted so far, with their scores."""

    def __init__(
        self,
        *,
        arm: NDArray[np.int64],
        arms: tuple[str, ...],
        design: Float[Tensor, "patient term"],
        companions: Companions | None,
        common: dict[str, Any],
        like: FittedOutcomes | None,
    ):
        self.arm, self.arms, self.x, self.common, self.like = arm, arms, design.numpy(), common, like
        self.companions = companions or Companions({}, {})
        self.events: dict[str, FittedEvent] = {}
        self.values: dict[Outcome, FittedValue] = {}
        self.censoring: dict[str, FittedCensoring] = {}
        self.missing: dict[Outcome, FittedMissing] = {}
        self.spreads: dict[Outcome, Spread] = {}
        self.lows: dict[Outcome, float] = {}
        self.scores: dict[tuple[str, str, str], Scores] = {}

    def _scales(self, before: FittedEvent | FittedValue | FittedCensoring | FittedMissing | None) -> dict[str, Any]:
        if before is None:
            return {}
        scales: dict[str, Any] = {"prior_scales": (before.prior_scale,)}
        if isinstance(before, FittedEvent | FittedValue):
            scales |= {"modifier_scales": (before.varied.modifier_scale,), "level_scales": (before.varied.level_scale,)}
        else:
            scales["level_scales"] = (before.level_scale,)
        return scales | ({"step_scales": (before.varied.step_scale,)} if isinstance(before, FittedEvent) else {})

    def _predictor(self, weights: Sequence[float], modifiers: Mapping[str, tuple[float, ...]], effects: Effects) -> Array:
        total = self.x @ np.array(weights) + self._by_companion(effects)
        for arm, row in modifiers.items():
            total += (self.arm == self.arms.index(arm)) * (self.x @ np.array(row))
        return np.asarray(total)

    def _by_companion(self, effects: Effects) -> Array:
        total = np.zeros(len(self.arm))
        for name, rows in effects.items():
            for arm, row in rows.items():
                total += (self.arm == self.arms.index(arm)) * np.append(row, 0.0)[self.companions.index[name]]  # −1 is the last, 0
        return total

    def _by_arm(self, numbers: Mapping[str, float] | Mapping[str, tuple[float, ...]]) -> Array:
        return np.array([numbers[arm] for arm in self.arms])[self.arm]

    def event(self, name: str, time: Array, event: Array) -> None:
        """An event, and its Cox–Snell scores."""
        fitted = fit_event(time, event, **self.common, **self._scales(self.like.events.get(name) if self.like else None))
        edges = np.array((0.0, *fitted.breaks))
        exposure = np.clip(time[:, None] - edges, 0.0, np.append(np.diff(edges), np.inf))
        risk = np.exp(self._predictor(fitted.varied.weights, fitted.varied.modifiers, fitted.varied.companions))
        hazard = (exposure * self._by_arm(fitted.varied.hazards)).sum(1) * risk
        self.events[name] = fitted
        self.scores["event", name, ""] = time_scores(hazard, hazard, event == 1, ~np.isnan(time) & ~np.isnan(event))

    def censored(self, name: str, time: Array, event: Array) -> None:
        """An event's censoring, and its scores: beyond the event where that came first, within a jump at an atom."""
        fitted = fit_censoring(time, event, **self.common, **self._scales(self.like.censoring.get(name) if self.like else None))
        if fitted is None:
            return
        risk = np.exp(self._predictor(fitted.weights, {}, fitted.companions) + self._by_arm(fitted.arm_log_hr))
        before, after = (law(time) * risk for law in (fitted.cumulative_hazard, fitted.cumulative_hazard_after))
        self.censoring[name] = fitted
        self.scores["censoring", name, ""] = time_scores(before, after, event == 0, ~np.isnan(time) & ~np.isnan(event))

    def value(self, key: Outcome, value: Array, baseline: str | None) -> None:
        """A value, its spread, and its scores."""
        fitted = fit_value(value, baseline=baseline, **self.common, **self._scales(self.like.values.get(key) if self.like else None))
        mean = self._predictor(fitted.varied.weights, fitted.varied.modifiers, fitted.varied.companions) + self._by_arm(fitted.varied.means)
        others = tuple(fitted.difference_sd)
        treated = np.stack([self.arm == self.arms.index(other) for other in others], axis=1).astype(np.float64) if others else np.zeros((len(value), 0))
        positive = bool(np.nanmin(value) >= 0)
        self.spreads[key], self.scores["value", *key] = fit_spread(value - mean, mean, treated, others, positive=positive)
        if positive and np.nanmean(value) > 0:
            self.lows[key] = _SOFT * float(np.nanmean(value))
        self.values[key] = fitted

    def gone(self, key: Outcome, missing: NDArray[np.bool_], follow_up: Mapping[str, tuple[Array, Array]]) -> None:
        """The missing cells of an outcome, and their scores; nothing where fewer than 5 are missing."""
        if missing.sum() < RARE:
            return
        law, threshold = fit_missing(missing, follow_up=follow_up, **self.common, **self._scales(self.like.missing.get(key) if self.like else None))
        self.missing[key] = law
        ends = np.stack((np.where(missing, -np.inf, threshold), np.where(missing, threshold, np.inf)), axis=1)
        self.scores["missing", *key] = between(ends, ~np.isnan(threshold))

    def together(self) -> FittedOutcomes:
        """The copula of all scores, in which no data say how some pairs go together.

        An event and its own censoring are held uncorrelated. A value and whether it is missing are independent given all
        other scores (missing at random): their correlation is the one that follows from the others.
        """
        scored = tuple(self.scores)
        place = {column: index for index, column in enumerate(scored)}
        linked = {(place["event", name, ""], place["censoring", name, ""]) for name in self.censoring}
        own = [(place["value" if visit else "event", outcome, visit], place["missing", outcome, visit]) for outcome, visit in self.missing]
        like = self.like.residuals if self.like is not None and self.like.scored == scored else None
        residuals = GaussianFactors.fit(list(self.scores.values()), linked=linked | set(own), like=like)
        if own:
            residuals = factors_of(missing_at_random(residuals.correlation(), own))
        return FittedOutcomes(
            names=self.arms,
            events=self.events,
            values=self.values,
            censoring=self.censoring,
            missing=self.missing,
            spreads=self.spreads,
            lows=self.lows,
            scored=scored,
            residuals=residuals,
        )


def missing_at_random(correlation: Float[Tensor, "column column"], pairs: Sequence[tuple[int, int]]) -> Float[Tensor, "column column"]:
    """The correlations with each pair's own as it follows from all others: ρ_ab = R_ao R_oo⁻¹ R_ob, one pair after another."""
    found = correlation.clone()
    for a, b in pairs:
        others = [column for column in range(len(found)) if column not in (a, b)]
        if others:
            through = torch.linalg.solve(found[others][:, others], found[others, b])
            found[a, b] = found[b, a] = found[a, others] @ through
    return found


def factors_of(correlation: Float[Tensor, "column column"]) -> GaussianFactors:
    """The factor form of a correlation matrix, exactly: ψ is its smallest eigenvalue (nearest matrix with one of 0.02 where it is smaller)."""
    values, vectors = torch.linalg.eigh(correlation)
    if values[0] < _LEAST_UNIQUE:
        values, vectors = torch.linalg.eigh(nearest_correlation(correlation))
    loadings = vectors[:, 1:] * (values[1:] - values[0]).clamp(min=0.0).sqrt()
    loadings = loadings * torch.where(loadings.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    return GaussianFactors(loadings=loadings, unique=(1.0 - (loadings**2).sum(-1)).clamp(min=0.0).sqrt())


def time_scores(before: Array, after: Array, happened: NDArray[np.bool_], known: NDArray[np.bool_]) -> Scores:
    """Φ⁻¹(exp(−H)) of times: exact where it happened, below it where it would have come later, within a jump from `before` to `after`."""
    high, low = (np.clip(-ndtri(-np.expm1(-np.maximum(hazard, 1e-300))), -FARTHEST, FARTHEST) for hazard in (before, after))
    jump = happened & (after > before)
    inexact = known & (~happened | jump)
    ends = np.stack((np.where(jump, low, -np.inf), np.where(happened, high, low)), axis=1)
    scores = between(ends, inexact)
    scores.exact[known & ~inexact] = high[known & ~inexact]
    return scores


def between(ends: Array, known: NDArray[np.bool_]) -> Scores:
    """Scores known up to an interval `[patient, end]`, where `known`; ends are rounded to 0.05, so that patients share intervals."""
    rounded = np.round(ends[known] / _GRID) * _GRID
    rounded[:, 1] = np.where(rounded[:, 1] <= rounded[:, 0], rounded[:, 0] + _GRID, rounded[:, 1])
    distinct, place = np.unique(rounded, axis=0, return_inverse=True)
    interval = np.full(len(ends), -1, dtype=np.int64)
    interval[known] = place.reshape(-1)
    return Scores(exact=np.full(len(ends), np.nan), interval=interval, ends=distinct)
