"""All outcomes of a fitted cohort given the baseline and the arm, and how what is left of them goes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from trialsim.cohort.fitted.dependence.gaussian_factors import GaussianFactors
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.margins import Array, Scores
from trialsim.cohort.fitted.outcomes.censoring import FittedCensoring, fit_censoring
from trialsim.cohort.fitted.outcomes.events import FittedEvent, fit_event
from trialsim.cohort.fitted.outcomes.missing import RARE, FittedMissing, fit_missing
from trialsim.cohort.fitted.outcomes.predictor import Predictors
from trialsim.cohort.fitted.outcomes.spread import Spread, fit_spread
from trialsim.cohort.fitted.outcomes.values import FittedValue, fit_value
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

IN_CACHE = 8192  # patients worked on at a time
FARTHEST = 6.0  # of a score
_GRID = 0.05  # ends of intervals are rounded to this
_SOFT = 0.1  # of the mean: where a quantity that is never negative is bent away from 0

Outcome = tuple[str, str]
"""An event outcome and "", or an outcome and its visit."""


@dataclass(frozen=True)
class FittedOutcomes:
    """Events, values, censoring and missing cells given the baseline and the arm, with joint residuals.

    Every one of them has a score that is standard normal given the baseline and the arm: Φ⁻¹ of the survival
    probability at an event's or censoring time (high: early), Φ⁻¹(F(residual)) of a value, and a latent score of a
    missing cell (missing where it is low). The scores follow a Gaussian copula, `residuals`, whose columns are `scored` in order: (kind,
    outcome, visit) with kinds event, censoring, value and missing. `names` are the arms in the order of their index.
    An event and its own censoring are independent given the baseline and the arm.

    Not handled: order between events (a death after a progression), and follow-up that several events share.
    """

    names: tuple[str, ...]
    events: Mapping[str, FittedEvent]
    values: Mapping[Outcome, FittedValue]
    censoring: Mapping[str, FittedCensoring]
    missing: Mapping[Outcome, FittedMissing]
    spreads: Mapping[Outcome, Spread]
    lows: Mapping[Outcome, float]
    scored: tuple[tuple[str, str, str], ...]
    residuals: GaussianFactors

    def synthesise(
        self, cohort: Cohort, arm: Int[Tensor, "replicate patient"], streams: Streams, block: Block
    ) -> dict[Outcome, Float[Tensor, "replicate patient"]]:
        """What is observed of every patient of a cohort under the arm they are in.

        Keys: (event, "time") in days and (event, "event") 0 or 1, NaN where missing; (outcome, visit), NaN where
        missing. A patient's numbers are a pure function of the seed, the replicate, their place and their baseline:
        scores come from the streams `outcome/<id>` (events), `outcome/<id>.<visit>`, `censoring/<id>`,
        `missing/<id>.<visit>` and what they share from `outcome/fitted.factor.<m>`.
        """
        n = arm.shape[1]
        scores = [streams(_purpose(*column)).normal(block, n) for column in self.scored]
        factors = [streams(f"outcome/fitted.factor.{m}").normal(block, n) for m in range(self.residuals.n_factors if self.scored else 0)]
        found = {key: torch.empty(arm.shape, dtype=torch.float64, device=arm.device) for key in self._keys()}
        flat = {key: column.view(-1) for key, column in found.items()}
        columns = {name: column.expand(arm.shape).reshape(-1) for name, column in cohort.columns.items()}
        whom = arm.reshape(-1)
        step = IN_CACHE if arm.device.type == "cpu" else max(whom.numel(), 1)
        for first in range(0, whom.numel(), step):
            rows = slice(first, first + step)
            own = [score.view(-1)[rows] for score in scores]
            self.residuals.mix(own, [factor.view(-1)[rows] for factor in factors])
            predictors = Predictors({name: column[rows] for name, column in columns.items()}, whom[rows], self.names)
            for key, column in self._observed(dict(zip(self.scored, own, strict=True)), predictors).items():
                flat[key][rows] = column
        return found

    def _keys(self) -> list[Outcome]:
        return [(event, part) for event in self.events for part in ("time", "event")] + list(self.values)

    def _observed(self, score: Mapping[tuple[str, str, str], Tensor], predictors: Predictors) -> dict[Outcome, Tensor]:
        """The outcomes of some patients whose scores are given."""
        found: dict[Outcome, Tensor] = {}
        for name, event in self.events.items():
            log_hr = predictors.varied(event.terms, event.varied.weights, event.varied.modifiers)
            time = _event_time(event, _hazard(score["event", name, ""], log_hr), predictors.arm)
            happened = torch.ones_like(time)
            if name in self.censoring:
                law = self.censoring[name]
                log_hr = predictors.weigh(law.terms, law.weights).add_(predictors.by_arm(law.arm_log_hr))
                end = law.time(_hazard(score["censoring", name, ""], log_hr))
                happened = (time <= end).to(torch.float64)
                time = torch.minimum(time, end)
            found[name, "time"], found[name, "event"] = time, happened
        for key, value in self.values.items():
            mean = predictors.varied(value.terms, value.varied.weights, value.varied.modifiers).add_(predictors.by_arm(value.varied.means))
            spread = self.spreads[key]
            sd = spread.sd(mean, predictors.by_arm(spread.offsets))
            found[key] = _bent(spread.shape.quantile(score["value", *key]).mul_(sd).add_(mean), self.lows.get(key))
        for (outcome, visit), law in self.missing.items():
            threshold = predictors.weigh(law.terms, law.weights).add_(predictors.by_arm(law.arm_shift)).add_(law.intercept)
            gone = score["missing", outcome, visit] < threshold
            if law.follows is not None:
                gone |= (found[law.follows, "event"] == 0) & (found[law.follows, "time"] < law.before)
            if visit:
                found[outcome, visit].masked_fill_(gone, torch.nan)
        for (outcome, visit), law in self.missing.items():
            if not visit:
                gone = score["missing", outcome, visit] < law.intercept
                for part in ("time", "event"):
                    found[outcome, part].masked_fill_(gone, torch.nan)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors, by name, for the file of the model."""
        tensors: dict[str, Tensor] = {}
        self._described(tensors)
        return tensors

    def options(self) -> dict[str, Any]:
        """What else it needs to be read back, as JSON."""
        return self._described({})

    def _described(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        tensors |= {f"residuals.{name}": tensor for name, tensor in self.residuals.tensors().items()}
        return {
            "names": list(self.names),
            "events": [[name, event.store(f"events.{name}", tensors)] for name, event in self.events.items()],
            "values": [[*key, value.store(f"values.{'.'.join(key)}", tensors)] for key, value in self.values.items()],
            "censoring": [[name, law.store()] for name, law in self.censoring.items()],
            "missing": [[*key, law.store()] for key, law in self.missing.items()],
            "spreads": [[*key, spread.store(f"spreads.{'.'.join(key)}", tensors)] for key, spread in self.spreads.items()],
            "lows": [[*key, low] for key, low in self.lows.items()],
            "scored": [list(column) for column in self.scored],
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> FittedOutcomes:
        """The outcomes that `tensors` and `options` came from."""
        mixing = {name.removeprefix("residuals."): tensor for name, tensor in tensors.items() if name.startswith("residuals.")}
        return cls(
            names=tuple(options["names"]),
            events={name: FittedEvent.read(given, tensors) for name, given in options["events"]},
            values={(outcome, visit): FittedValue.read(given, tensors) for outcome, visit, given in options["values"]},
            censoring={name: FittedCensoring.read(given) for name, given in options["censoring"]},
            missing={(outcome, visit): FittedMissing.read(given) for outcome, visit, given in options["missing"]},
            spreads={(outcome, visit): Spread.read(given, tensors) for outcome, visit, given in options["spreads"]},
            lows={(outcome, visit): low for outcome, visit, low in options["lows"]},
            scored=tuple((kind, outcome, visit) for kind, outcome, visit in options["scored"]),
            residuals=GaussianFactors.of(mixing, {}),
        )


def _purpose(kind: str, outcome: str, visit: str) -> str:
    """The stream of a score."""
    return f"{'outcome' if kind in ('event', 'value') else kind}/{outcome}{f'.{visit}' if visit else ''}"


def _hazard(score: Tensor, log_hr: Tensor) -> Tensor:
    """The cumulative hazard at linear predictor 0 that is reached at a score."""
    return torch.special.log_ndtr(score).neg_().mul_(log_hr.neg_().exp_())


def _event_time(event: FittedEvent, h: Tensor, group: Tensor) -> Tensor:
    """The inverse of the stepwise cumulative hazard of each patient's arm."""
    starts = torch.tensor((0.0, *event.breaks), dtype=torch.float64, device=h.device)
    time: Tensor | None = None
    for place, row in enumerate(event.varied.hazards.values()):
        hazards = torch.tensor(row, dtype=torch.float64, device=h.device)
        reached = torch.cat((starts[:1], torch.cumsum((starts[1:] - starts[:-1]) * hazards[:-1], 0)))
        piece = torch.bucketize(h, reached[1:])
        here = (h - reached[piece]).div_(hazards[piece]).add_(starts[piece])
        time = here if time is None else torch.where(group == place, here, time)
    assert time is not None
    return time


def _bent(value: Tensor, low: float | None) -> Tensor:
    """Values below `low` bent so that none is negative: low · exp(value / low − 1), smooth and increasing."""
    if low is None:
        return value
    return torch.where(value < low, (value / low - 1.0).clamp_(max=0.0).exp_().mul_(low), value)


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
    like: FittedOutcomes | None = None,
) -> FittedOutcomes:
    """Every outcome given the baseline and the arm, then the copula of what is left.

    `events` are (time in days, event 0/1), `values` by outcome and visit, all `[patient]` with NaN where missing;
    `baselines` name the covariate that is an outcome's value at baseline. `arm` is each patient's place in `arms`;
    `terms` and `design` see their baseline, complete. `like`, fitted to other rows of the same data, gives the scales of
    the priors and where the climb of the copula starts, so that fitting again takes a fraction of the time.

    **Source:** Cox & Snell 1968, JRSS-B 30:248 (residuals); Song, Li & Yuan 2009, Biometrics 65:60, doi
    10.1111/j.1541-0420.2008.01058.x (joint regression by Gaussian copulas).
    """
    common: dict[str, Any] = {"arms": arms, "reference": reference, "arm": arm, "terms": terms, "design": design}
    fits = _Fits(arm=arm, arms=arms, design=design, common=common, like=like)
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
    return fits.together()


class _Fits:
    """The outcomes fitted so far, with their scores."""

    def __init__(
        self,
        *,
        arm: NDArray[np.int64],
        arms: tuple[str, ...],
        design: Float[Tensor, "patient term"],
        common: dict[str, Any],
        like: FittedOutcomes | None,
    ):
        self.arm, self.arms, self.x, self.common, self.like = arm, arms, design.numpy(), common, like
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
            scales["modifier_scales"] = (before.varied.modifier_scale,)
        return scales | ({"step_scales": (before.varied.step_scale,)} if isinstance(before, FittedEvent) else {})

    def _predictor(self, weights: Sequence[float], modifiers: Mapping[str, tuple[float, ...]]) -> Array:
        total = self.x @ np.array(weights)
        for arm, row in modifiers.items():
            total += (self.arm == self.arms.index(arm)) * (self.x @ np.array(row))
        return np.asarray(total)

    def _by_arm(self, numbers: Mapping[str, float] | Mapping[str, tuple[float, ...]]) -> Array:
        return np.array([numbers[arm] for arm in self.arms])[self.arm]

    def event(self, name: str, time: Array, event: Array) -> None:
        """An event, and its Cox–Snell scores."""
        fitted = fit_event(time, event, **self.common, **self._scales(self.like.events.get(name) if self.like else None))
        edges = np.array((0.0, *fitted.breaks))
        exposure = np.clip(time[:, None] - edges, 0.0, np.append(np.diff(edges), np.inf))
        hazard = (exposure * self._by_arm(fitted.varied.hazards)).sum(1) * np.exp(self._predictor(fitted.varied.weights, fitted.varied.modifiers))
        self.events[name] = fitted
        self.scores["event", name, ""] = time_scores(hazard, hazard, event == 1, ~np.isnan(time) & ~np.isnan(event))

    def censored(self, name: str, time: Array, event: Array) -> None:
        """An event's censoring, and its scores: beyond the event where that came first, within a jump at an atom."""
        fitted = fit_censoring(time, event, **self.common, **self._scales(self.like.censoring.get(name) if self.like else None))
        if fitted is None:
            return
        risk = np.exp(self._predictor(fitted.weights, {}) + self._by_arm(fitted.arm_log_hr))
        before, after = (law(time) * risk for law in (fitted.cumulative_hazard, fitted.cumulative_hazard_after))
        self.censoring[name] = fitted
        self.scores["censoring", name, ""] = time_scores(before, after, event == 0, ~np.isnan(time) & ~np.isnan(event))

    def value(self, key: Outcome, value: Array, baseline: str | None) -> None:
        """A value, its spread, and its scores."""
        fitted = fit_value(value, baseline=baseline, **self.common, **self._scales(self.like.values.get(key) if self.like else None))
        mean = self._predictor(fitted.varied.weights, fitted.varied.modifiers) + self._by_arm(fitted.varied.means)
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
        """The copula of all scores; an event and its own censoring are held uncorrelated, for no data say how they are."""
        scored = tuple(self.scores)
        linked = {(scored.index(("event", name, "")), scored.index(("censoring", name, ""))) for name in self.censoring}
        like = self.like.residuals if self.like is not None and self.like.scored == scored else None
        residuals = GaussianFactors.fit(list(self.scores.values()), linked=linked, like=like)
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
