"""Which declared thresholds a synthetic cohort meets, each with a sentence that says by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trialsim.cohort.fairness import Representativeness, SubgroupCalibration
from trialsim.cohort.fidelity import Fidelity, Measured
from trialsim.cohort.fidelity.measured import finite
from trialsim.evaluation.cohort_thresholds import Thresholds
from trialsim.evaluation.effect_preservation import BEYOND, EffectPreservation, most_beyond, simultaneous_bound

Section = Literal["fidelity", "effects", "fairness"]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One threshold. `value` is the measure at its worst place, `limit` what it may be there; `sentence` says both in words."""

    section: Section
    name: str
    value: float
    limit: float
    met: bool
    sentence: str

    def as_json(self) -> dict[str, Any]:
        return {
            "section": self.section,
            "name": self.name,
            "value": finite(self.value),
            "limit": finite(self.limit),
            "met": self.met,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class _Reading:
    """A measure at one place: what it is, how much, its standard error, its own floor of the limit."""

    place: str
    value: float
    se: float
    floor: float = 0.0


def criteria(
    thresholds: Thresholds,
    fidelity: Fidelity,
    effects: EffectPreservation,
    calibration: Sequence[SubgroupCalibration],
    target: Representativeness | None,
    *,
    same_data: bool,
) -> tuple[Criterion, ...]:
    """Every declared threshold that there is something to hold against, in the order of the report."""
    judge = _Judge(thresholds, same_data)
    found: list[Criterion | None] = [*_of_fidelity(judge, fidelity), *_of_effects(judge, effects), *_of_subgroups(judge, calibration)]
    if target is not None:
        each = [
            _Reading(f"the column {item.column}" if item.level is None else f"the share of {item.column} = {item.level}", abs(item.synthetic_smd), 0.0)
            for item in target.differences
        ]
        found.append(
            judge.worst(
                "fairness",
                "difference from the target population",
                "is {value} standard deviations off the target",
                thresholds.standardised_difference,
                each,
                noise=0,
            )
        )
    return tuple(criterion for criterion in found if criterion is not None)


class _Judge:
    """Finds the worst place of each measure: the one that exceeds its limit by most."""

    def __init__(self, thresholds: Thresholds, same_data: bool):
        self.thresholds, self.same_data = thresholds, same_data

    def allowed(self, k: int, noise: float) -> float:
        """Standard errors that are allowed to the largest of k errors."""
        return noise if self.same_data or noise == 0 else max(noise, simultaneous_bound(k))

    def worst(
        self, section: Section, name: str, words: str, limit: float | None, readings: Iterable[_Reading], *, noise: float | None = None, k: int | None = None
    ) -> Criterion | None:
        """The reading that exceeds its limit by most, or comes nearest to it; None where the measure is not judged or there is nothing.

        `k` is of how many comparisons the readings are the largest (default: all there are).
        """
        found = list(readings)
        if limit is None or not found:
            return None
        errors = self.allowed(k or len(found), self.thresholds.noise if noise is None else noise)
        limits = [max(limit, each.floor, errors * each.se if math.isfinite(each.se) else 0.0) for each in found]
        place = max(range(len(found)), key=lambda i: _ratio(found[i].value, limits[i]))
        reading, allowed = found[place], limits[place]
        met = reading.value <= allowed  # false for NaN
        missed = sum(not each.value <= own for each, own in zip(found, limits, strict=True))
        at_least = "at least " if k is not None and missed == len(found) < k else ""
        more = f", and {at_least}{missed - 1} more" if missed > 1 else ""
        sentence = f"{reading.place} {words.format(value=_words(reading.value))} ({'within' if met else 'beyond'} the limit {_words(allowed)}{more})"
        return Criterion(section, name, reading.value, allowed, met, sentence)


def _ratio(value: float, limit: float) -> float:
    return math.inf if math.isnan(value) else value / limit if limit > 0 else (math.inf if value > 0 else 0.0)


def _words(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 0.095 else f"{value:.2f}"


def _absolute(place: str, error: Measured) -> _Reading:
    return _Reading(place, abs(error.estimate), error.se)


def _of_fidelity(judge: _Judge, fidelity: Fidelity) -> list[Criterion | None]:
    t = judge.thresholds
    margins = [(margin.column, found) for margin in fidelity.margins for found in (margin.ks, margin.tv) if found is not None]
    moved = [_absolute(f"the values of {m.column}", m.wasserstein) for m in fidelity.margins if m.wasserstein is not None]
    dependence, missing, told = fidelity.dependence, fidelity.missingness, fidelity.classifier
    pairs = [_absolute(f"the correlation of {pair.one} and {pair.two}", pair.error) for pair in dependence.worst]
    rules = [_Reading(f"the column {rule.column}, which follows from {rule.source},", rule.synthetic - rule.real, 0.0) for rule in dependence.rules]
    correlated = []
    if missing.correlation is not None and missing.correlated is not None:
        correlated.append(_absolute(f"the correlation of the missing cells of {missing.correlated[0]} and {missing.correlated[1]}", missing.correlation))
    curves = [_Reading(f"survival without {c.outcome} in arm {c.arm}", c.distance, 0.0, floor=c.band) for c in fidelity.survival]
    worst = told.worst
    auc = [_Reading("a classifier that tells real from synthetic patients", worst.estimate, 0.0, floor=0.5 + t.noise * worst.se)]
    losses = [_Reading(f"a prediction of {u.outcome} trained on synthetic patients", u.loss.estimate, u.loss.se) for u in fidelity.utility]
    return [
        judge.worst("fidelity", "margins", "is {value} off", t.margin, [_absolute(f"the distribution of {name}", found) for name, found in margins]),
        judge.worst("fidelity", "Wasserstein distance", "are {value} standard deviations off", t.wasserstein, moved),
        judge.worst("fidelity", "correlations", "is {value} off", t.correlation, pairs, k=dependence.n_pairs),
        judge.worst("fidelity", "rules", "breaks its rule in a share of {value} more patients than in the data", t.rule_exceptions, rules, noise=0),
        judge.worst(
            "fidelity",
            "missing cells",
            "is {value} off",
            t.missing_rate,
            [_absolute(f"the share of missing cells of {r.column}", r.error) for r in missing.rates],
        ),
        judge.worst("fidelity", "missing together", "is {value} off", t.missing_correlation, correlated),
        judge.worst("fidelity", "survival curves", "is {value} off", t.survival, curves, noise=0),
        judge.worst("fidelity", "classifier", "has an AUC of {value}", t.classifier_auc, auc, noise=0),
        judge.worst("fidelity", "train on synthetic, test on real", "loses {value}", t.prediction_loss, losses),
    ]


def _of_effects(judge: _Judge, effects: EffectPreservation) -> list[Criterion | None]:
    """Overall against the declared limit or a share of the real standard error; in subgroups all together (see `effect_preservation`)."""
    t = judge.thresholds
    noise = t.effect_noise if judge.same_data else max(t.effect_noise, t.noise)
    hazards = [_Reading(e.phrase, abs(e.error), e.real_se) for e in effects.overall if e.scale == "log_hazard_ratio"]
    means = [_Reading(e.phrase, abs(e.error) / e.sd, e.real_se / e.sd) for e in effects.overall if e.scale == "difference_in_means"]
    found = [
        judge.worst("effects", "log hazard ratios overall", "is {value} off", t.effect_log_hr, hazards, noise=noise),
        judge.worst("effects", "differences in means overall", "is {value} standard deviations off", t.effect_mean, means, noise=noise),
    ]
    inside = effects.in_subgroups
    if t.subgroup_effects is None or not inside:
        return found
    bound, most = simultaneous_bound(len(inside), t.subgroup_effects), most_beyond(len(inside))
    readings = [_Reading(e.phrase, abs(e.z), 0.0) for e in inside]
    found.append(judge.worst("effects", "subgroup effects, the largest", "is {value} standard errors off", bound, readings, noise=0))
    n = len(effects.beyond)
    sentence = f"{n} of {len(inside)} subgroup effects {'is' if n == 1 else 'are'} more than {BEYOND:g} standard errors off ({'within' if n <= most else 'beyond'} the {most} that chance allows)"
    found.append(Criterion("effects", "subgroup effects, how many", float(n), float(most), n <= most, sentence))
    return found


def _of_subgroups(judge: _Judge, calibration: Sequence[SubgroupCalibration]) -> list[Criterion | None]:
    t = judge.thresholds
    found: list[Criterion | None] = []
    for unit, limit, words in (("probability", t.subgroup_survival, "is {value} off"), ("value", t.subgroup_mean, "is {value} standard deviations off")):
        of_unit = [each for each in calibration if each.unit == unit]
        bound = simultaneous_bound(len(of_unit))
        readings = [_Reading(each.phrase, abs(each.error.estimate) / each.sd, each.error.se / each.sd) for each in of_unit]
        name = "survival in subgroups" if unit == "probability" else "means in subgroups"
        found.append(judge.worst("fairness", name, words, limit, readings, noise=bound))
    return found
