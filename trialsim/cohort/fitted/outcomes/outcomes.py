"""All outcomes of a fitted cohort given the baseline and the arm, and how what is left of them goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.cohort.fitted.dependence.gaussian_factors import GaussianFactors
from trialsim.cohort.fitted.outcomes.censoring import FittedCensoring
from trialsim.cohort.fitted.outcomes.events import FittedEvent
from trialsim.cohort.fitted.outcomes.missing import FittedMissing
from trialsim.cohort.fitted.outcomes.predictor import CohortPredictors, Predictors
from trialsim.cohort.fitted.outcomes.spread import Spread
from trialsim.cohort.fitted.outcomes.values import FittedValue
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

IN_CACHE = 8192  # patients worked on at a time

Outcome = tuple[str, str]
"""An event outcome and "", or an outcome and its visit."""
Scored = tuple[str, str, str]
"""What has a score: the kind (event, censoring, value, missing), the outcome, the visit."""


@dataclass(frozen=True)
class FittedOutcomes:
    """Events, values, censoring and missing cells given the baseline and the arm, with joint residuals.

    Every one of them has a score that is standard normal given the baseline and the arm: Φ⁻¹ of the survival
    probability at an event's or censoring time (high: early), Φ⁻¹(F(residual)) of a value, and a latent score of a
    missing cell (missing where it is low). The scores follow a Gaussian copula, `residuals`, whose columns are `scored` in order: (kind,
    outcome, visit) with kinds event, censoring, value and missing. `names` are the arms in the order of their index.
    An event and its own censoring are independent given the baseline and the arm; a value and whether it is missing are
    so given everything else that has a score.

    Not handled: order between events (a death after a progression), follow-up that several events share, and values that
    are missing for what they would have been. Correlations are those among the values that were seen, a little too weak
    where what makes them missing goes with them.
    """

    names: tuple[str, ...]
    events: Mapping[str, FittedEvent]
    values: Mapping[Outcome, FittedValue]
    censoring: Mapping[str, FittedCensoring]
    missing: Mapping[Outcome, FittedMissing]
    spreads: Mapping[Outcome, Spread]
    lows: Mapping[Outcome, float]
    scored: tuple[Scored, ...]
    residuals: GaussianFactors

    def synthesise(
        self,
        cohort: Cohort,
        arm: Int[Tensor, "replicate patient"],
        streams: Streams,
        block: Block,
        companions: Mapping[str, Int[Tensor, "replicate patient"]] | None = None,
    ) -> dict[Outcome, Float[Tensor, "replicate patient"]]:
        """What is observed of every patient of a cohort under the arm they are in, and at the levels of its `companions` (−1: missing).

        Keys: (event, "time") in days and (event, "event") 0 or 1, NaN where missing; (outcome, visit), NaN where
        missing. A patient's numbers are a pure function of the seed, the replicate, their place, their baseline and arm:
        scores come from the streams `outcome/<id>` (events), `outcome/<id>.<visit>`, `censoring/<id>`,
        `missing/<id>.<visit>` and what they share from `outcome/fitted.factor.<m>`.
        """
        n = arm.shape[1]
        scores = [streams(_purpose(*column)).normal(block, n) for column in self.scored]
        factors = [streams(f"outcome/fitted.factor.{m}").normal(block, n) for m in range(self.residuals.n_factors if self.scored else 0)]
        found = {key: torch.empty(arm.shape, dtype=torch.float64, device=arm.device) for key in self._keys()}
        flat = {key: column.view(-1) for key, column in found.items()}
        columns = {name: column.expand(arm.shape).reshape(-1) for name, column in cohort.columns.items()}
        whom, others = arm.reshape(-1), {name: level.reshape(-1) for name, level in (companions or {}).items()}
        step = IN_CACHE if arm.device.type == "cpu" else max(whom.numel(), 1)
        for first in range(0, whom.numel(), step):
            rows = slice(first, first + step)
            own = [score.view(-1)[rows] for score in scores]
            self.residuals.mix(own, [factor.view(-1)[rows] for factor in factors])
            here, levels = ({name: column[rows] for name, column in each.items()} for each in (columns, others))
            predictors = CohortPredictors(here, whom[rows], self.names, levels)
            for key, column in self.observed(dict(zip(self.scored, own, strict=True)), predictors).items():
                flat[key][rows] = column
        return found

    def _keys(self) -> list[Outcome]:
        return [(event, part) for event in self.events for part in ("time", "event")] + list(self.values)

    def log_hr(self, kind: str, name: str, predictors: Predictors) -> Float[Tensor, "patient"]:
        """The linear predictor of an `event` or its `censoring`, against the average patient (of the arm for an event, of the reference arm else)."""
        if kind == "event":
            event = self.events[name]
            effects = event.varied.companions
            found = predictors.varied(event.terms, event.varied.weights, event.varied.modifiers)
        else:
            law = self.censoring[name]
            effects = law.companions
            found = predictors.weigh(law.terms, law.weights).add_(predictors.by_arm(law.arm_log_hr))
        return found.add_(predictors.by_companion(effects))

    def observed(self, score: Mapping[Scored, Tensor], predictors: Predictors) -> dict[Outcome, Tensor]:
        """The outcomes of some patients whose scores are given."""
        found: dict[Outcome, Tensor] = {}
        for name, event in self.events.items():
            time = _event_time(event, _hazard(score["event", name, ""], self.log_hr("event", name, predictors)), predictors.arm)
            happened = torch.ones_like(time)
            if name in self.censoring:
                end = self.censoring[name].time(_hazard(score["censoring", name, ""], self.log_hr("censoring", name, predictors)))
                happened = (time <= end).to(torch.float64)
                time = torch.minimum(time, end)
            found[name, "time"], found[name, "event"] = time, happened
        for key, value in self.values.items():
            mean = predictors.varied(value.terms, value.varied.weights, value.varied.modifiers).add_(predictors.by_arm(value.varied.means))
            mean.add_(predictors.by_companion(value.varied.companions))
            spread = self.spreads[key]
            sd = spread.sd(mean, predictors.by_arm(spread.offsets))
            found[key] = _bent(spread.shape.quantile(score["value", *key]).mul_(sd).add_(mean), self.lows.get(key))
        gone = {key: self._gone(key, score, found, predictors) for key in self.missing}
        for (outcome, visit), cells in gone.items():
            for part in (visit,) if visit else ("time", "event"):
                found[outcome, part].masked_fill_(cells, torch.nan)
        return found

    def _gone(self, key: Outcome, score: Mapping[Scored, Tensor], found: Mapping[Outcome, Tensor], predictors: Predictors) -> Tensor:
        """Whose cell of an outcome is missing, given everybody's events before any of these is."""
        law = self.missing[key]
        threshold = predictors.weigh(law.terms, law.weights).add_(predictors.by_arm(law.arm_shift)).add_(law.intercept)
        threshold.add_(predictors.by_companion(law.companions))
        cells = score["missing", key[0], key[1]] < threshold
        if law.follows is not None:
            cells |= (found[law.follows, "event"] == 0) & (found[law.follows, "time"] < law.before)
        return cells

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
            "events": [[name, event.store(f"events.{place}", tensors)] for place, (name, event) in enumerate(self.events.items())],
            "values": [[*key, value.store(f"values.{place}", tensors)] for place, (key, value) in enumerate(self.values.items())],
            "censoring": [[name, law.store()] for name, law in self.censoring.items()],
            "missing": [[*key, law.store()] for key, law in self.missing.items()],
            "spreads": [[*key, spread.store(f"spreads.{place}", tensors)] for place, (key, spread) in enumerate(self.spreads.items())],
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
