"""From a truth section to processes that can be run: everything that can be computed once is computed here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort import CohortModel
from trialsim.errors import Problem, ProtocolError, did_you_mean
from trialsim.records import Cohort
from trialsim.twins.arm_shift import ArmShift
from trialsim.twins.compile_effect import hazard_ratio, mean_difference, predictor_shift, slowing
from trialsim.twins.count_value import CountValue
from trialsim.twins.dropout import Dropout
from trialsim.twins.event_time import NO_EFFECT, EventTime, HazardRatio, Predictor
from trialsim.twins.events import EventTimeLaw, Exponential, FittedEventTime, IllnessDeath, Recurrent
from trialsim.twins.events.illness_death import TRANSITIONS
from trialsim.twins.fitted_outcomes import FittedEvent, FittedOutcomes, FittedValue
from trialsim.twins.illness_death_times import IllnessDeathEvent, IllnessDeathTimes
from trialsim.twins.process import EventLaw, OutcomeProcess
from trialsim.twins.prognosis import LinearPredictor, Prognostic
from trialsim.twins.recurrence import CountToVisit, FirstEvent, Recurrence
from trialsim.twins.step_hazard import StepHazard
from trialsim.twins.trajectory import Trajectory, TrajectoryValue
from trialsim.twins.truth import Truth
from trialsim.twins.values import Bernoulli, FittedValues, LinearMixed, NegativeBinomial, NormalValue, Ordinal, Poisson
from trialsim.twins.values.bernoulli import FAR, BinaryValue
from trialsim.twins.values.ordinal import OrdinalValue
from trialsim.twins.visit_value import MeanDifference, VisitValue, noise_index

Levels = Mapping[str, tuple[str, ...]]
EventKernel = EventTime | FirstEvent | IllnessDeathEvent
ValueKernel = VisitValue | BinaryValue | OrdinalValue | CountValue | CountToVisit | TrajectoryValue
"""A value at one visit."""
NO_VISIT = ""  # a single value that is asked for without a visit


@dataclass(frozen=True, slots=True)
class BaselineValue:
    """A value that is a baseline covariate, the same under every arm."""

    covariate: str

    def __call__(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        assert cohort is not None
        return cohort.columns[self.covariate]


class _Sum:
    """A fitted predictor, a constant and declared prognostic terms, added up."""

    def __init__(self, *, constant: float, declared: LinearPredictor, fitted: FittedEvent | FittedValue | None = None):
        self.constant, self.declared, self.fitted = constant, declared, fitted

    def __call__(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"] | None:
        total = self.declared(cohort)
        if self.fitted is not None:
            assert cohort is not None
            learned = self.fitted.mean(cohort) if hasattr(self.fitted, "mean") else self.fitted.linear_predictor(cohort)
            total = learned.contiguous() if total is None else total.add_(learned)
        if self.constant != 0.0:
            total = torch.full((1, 1), self.constant, dtype=torch.float64, device="cpu") if total is None else total + self.constant
        return total


def _fitted(cohort: CohortModel | None, outcome: str, what: str) -> FittedOutcomes:
    if not isinstance(cohort, FittedOutcomes):
        raise ProtocolError(Problem(f"{what} needs a cohort model fitted to data (population.source)", path=f"truth.outcomes.{outcome}"))
    return cohort


def _fitted_number(numbers: Mapping[str, float], arm: str, outcome: str, scaled: bool) -> float:
    if scaled and arm not in numbers:
        raise ProtocolError(Problem(f'the fitted data have no arm "{arm}"{did_you_mean(arm, numbers)}', path=f"truth.effects.{arm}.{outcome}.fitted"))
    return numbers.get(arm, 0.0)


def event_times(truth: Truth, arms: tuple[str, ...], cohort: CohortModel | None, levels: Levels) -> dict[str, EventKernel]:
    """Every event time that can be run, by the name under which endpoints address it."""
    built: dict[str, EventKernel] = {}
    for outcome, process in truth.outcomes.items():
        declared = {arm: truth.effects.get(arm, {}).get(outcome) for arm in arms}
        if isinstance(process, EventLaw) and process.supported:
            predictor = LinearPredictor(process.prognostic, levels)
            built[outcome] = EventTime(process, predictor or None, [hazard_ratio(declared[arm], levels=levels) for arm in arms])
        elif isinstance(process, Recurrent):
            built[outcome] = FirstEvent(_recurrence(process.rate, process.dispersion, process.prognostic, outcome, truth, arms, levels))
        elif isinstance(process, IllnessDeath):
            course = _illness_death(process, outcome, truth, arms, levels)
            built |= {transition: IllnessDeathEvent(course, transition) for transition in TRANSITIONS}
        elif isinstance(process, FittedEventTime):
            events = _fitted(cohort, outcome, "dist: fitted").events
            if outcome not in events:
                raise ProtocolError(
                    Problem(
                        f'the fitted cohort has no event time "{outcome}"{did_you_mean(outcome, events) if events else ""}', path=f"truth.outcomes.{outcome}"
                    )
                )
            learned = events[outcome]
            effects: list[HazardRatio] = []
            for arm in arms:
                effect = declared[arm]
                log_hr = _fitted_number(learned.arm_log_hr, arm, outcome, scaled=effect is not None and effect.fitted is not None)
                effects.append(hazard_ratio(effect, levels=levels, fitted_log_hr=log_hr))
            law = StepHazard(learned.breaks, learned.hazards)
            built[outcome] = EventTime(law, _Sum(constant=0.0, declared=LinearPredictor(process.prognostic, levels), fitted=learned), effects)
    return built


def recurrences(truth: Truth, arms: tuple[str, ...], levels: Levels) -> dict[str, Recurrence]:
    """Every outcome whose events come over time and can come again."""
    built: dict[str, Recurrence] = {}
    for outcome, process in truth.outcomes.items():
        if isinstance(process, Recurrent):
            built[outcome] = _recurrence(process.rate, process.dispersion, process.prognostic, outcome, truth, arms, levels)
        elif isinstance(process, NegativeBinomial) and process.over_time:
            built[outcome] = _recurrence(process.rate.value, process.dispersion, process.prognostic, outcome, truth, arms, levels)
    return built


def _recurrence(
    rate: float, dispersion: float, prognostic: Mapping[str, Prognostic], outcome: str, truth: Truth, arms: tuple[str, ...], levels: Levels
) -> Recurrence:
    effects = [hazard_ratio(truth.effects.get(arm, {}).get(outcome), levels=levels) for arm in arms]
    law = Exponential.model_construct(rate=rate)
    return Recurrence(EventTime(law, LinearPredictor(prognostic, levels) or None, effects), dispersion)


def _illness_death(process: IllnessDeath, outcome: str, truth: Truth, arms: tuple[str, ...], levels: Levels) -> IllnessDeathTimes:
    shared = LinearPredictor(process.prognostic, levels)
    transitions: dict[str, EventTime] = {}
    for transition in TRANSITIONS:
        law: EventLaw = getattr(process, transition)
        declared = [truth.effects.get(arm, {}) for arm in arms]
        effects = [hazard_ratio(effect.get(transition, effect.get(outcome)), levels=levels) for effect in declared]
        own = LinearPredictor(law.prognostic, levels)
        transitions[transition] = EventTime(law, _Both(shared, own) if shared or own else None, effects)
    return IllnessDeathTimes(outcome, transitions)


class _Both:
    """Two linear predictors, added up."""

    def __init__(self, first: LinearPredictor, second: LinearPredictor):
        self.first, self.second = first, second

    def __call__(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"] | None:
        first, second = self.first(cohort), self.second(cohort)
        return second if first is None else first if second is None else first.add_(second)


def visit_values(
    truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, dict[str, ValueKernel | BaselineValue]]:
    """Every outcome with values that can be run, by visit."""
    built: dict[str, dict[str, ValueKernel | BaselineValue]] = {}
    counted = recurrences(truth, arms, levels)
    for outcome, process in truth.outcomes.items():
        if outcome in counted:
            built[outcome] = {visit: CountToVisit(counted[outcome], max(day, 0.0)) for visit, day in visits.items()}
        elif isinstance(process, Bernoulli | Ordinal | Poisson | NegativeBinomial):
            built[outcome] = {visit: _single_value(process, outcome, truth, arms, visit, day, levels) for visit, day in {**visits, NO_VISIT: math.inf}.items()}
        elif isinstance(process, LinearMixed):
            built[outcome] = _linear_mixed(process, outcome, truth, arms, visits, cohort, levels)
        if isinstance(process, NormalValue):
            built[outcome] = _normal(process, outcome, truth, arms, visits, cohort, levels)
        elif isinstance(process, FittedValues):
            built[outcome] = _fitted_values(process, outcome, truth, arms, visits, cohort, levels)
    return built


def _single_value(
    process: Bernoulli | Ordinal | Poisson | NegativeBinomial, outcome: str, truth: Truth, arms: tuple[str, ...], visit: str, day: float, levels: Levels
) -> ValueKernel:
    """A binary, ordinal or count value; effects act on the log odds or the log of the mean."""

    def on_log_scale(kind: str, value: float) -> float:
        return process.arm_log_odds(kind, value) if isinstance(process, Bernoulli) else math.log(value)

    declared = [truth.effects.get(arm, {}).get(outcome) for arm in arms]
    shift = ArmShift([predictor_shift(effect, visit=visit, day=day, levels=levels, of=on_log_scale) for effect in declared])
    predictor = LinearPredictor(process.prognostic, levels)
    if isinstance(process, Bernoulli):
        return BinaryValue(process, predictor, shift)
    if isinstance(process, Ordinal):
        return OrdinalValue(process, predictor, shift)
    mean, dispersion = (process.mean, 0.0) if isinstance(process, Poisson) else (process.rate.value, process.dispersion)
    return CountValue(log_mean=math.log(mean) if mean > 0 else -FAR, dispersion=dispersion, predictor=predictor, shift=shift)


def _linear_mixed(
    process: LinearMixed, outcome: str, truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, ValueKernel | BaselineValue]:
    covariate = process.baseline if isinstance(process.baseline, str) else None
    _require_covariate(covariate, outcome, cohort)
    at_baseline = [visit for visit, day in visits.items() if covariate is not None and day <= 0]
    days = dict(sorted(((visit, day) for visit, day in visits.items() if visit not in at_baseline), key=lambda item: item[1]))
    _require_distinct(days)
    declared = [truth.effects.get(arm, {}).get(outcome) for arm in arms]
    slowed = [slowing(effect) for effect in declared]
    differences = [None if effect is None or effect.kind == "percent_slowing" else effect for effect in declared]
    # At baseline nothing has been given yet.
    shifts = {
        visit: [predictor_shift(effect if day > 0 else None, visit=visit, day=day, levels=levels) for effect in differences] for visit, day in days.items()
    }
    trajectory = Trajectory(process, days, slowing=slowed, shifts=shifts, levels=levels)
    built: dict[str, ValueKernel | BaselineValue] = {visit: TrajectoryValue(trajectory, visit) for visit in days}
    return built | {visit: BaselineValue(str(covariate)) for visit in at_baseline}


def _require_covariate(baseline: str | None, outcome: str, cohort: CohortModel | None) -> None:
    if baseline is not None and (cohort is None or baseline not in cohort.names):
        names = () if cohort is None else cohort.names
        raise ProtocolError(
            Problem(
                f'"{baseline}" is not a covariate{did_you_mean(baseline, names) if names else "; the population has none"}',
                path=f"truth.outcomes.{outcome}.baseline",
            )
        )


def _require_distinct(days: Mapping[str, float]) -> None:
    used: dict[int, str] = {}
    for visit, day in days.items():
        index = noise_index(day)
        if index in used:
            raise ProtocolError(Problem(f'"{visit}" falls on the same day as "{used[index]}"; values need visits on different days', path=f"visits.{visit}"))
        used[index] = visit


def _differences(
    truth: Truth, outcome: str, arms: tuple[str, ...], visit: str, day: float, levels: Levels, fitted: Mapping[str, float] | None
) -> list[MeanDifference]:
    found = []
    for arm in arms:
        effect = truth.effects.get(arm, {}).get(outcome)
        learned = 0.0 if fitted is None else _fitted_number(fitted, arm, outcome, scaled=effect is not None and effect.fitted is not None)
        found.append(mean_difference(effect, visit=visit, day=day, levels=levels, fitted_difference=learned))
    return found


def _normal(
    process: NormalValue, outcome: str, truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, ValueKernel | BaselineValue]:
    _require_covariate(process.baseline, outcome, cohort)
    expected: Predictor = _Sum(constant=process.mean, declared=LinearPredictor(process.prognostic, levels))
    built: dict[str, ValueKernel | BaselineValue] = {}
    for visit, day in visits.items():
        if process.baseline is not None and day <= 0:
            built[visit] = BaselineValue(process.baseline)
        else:
            built[visit] = VisitValue(expected, process.sd, _differences(truth, outcome, arms, visit, day, levels, None), index=0)
    built.setdefault(NO_VISIT, VisitValue(expected, process.sd, _differences(truth, outcome, arms, NO_VISIT, math.inf, levels, None), index=0))
    return built


def _fitted_values(
    process: FittedValues, outcome: str, truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, ValueKernel | BaselineValue]:
    learned = {visit: value for (name, visit), value in _fitted(cohort, outcome, "model: fitted").values.items() if name == outcome}
    baseline = next((value.baseline for value in learned.values() if value.baseline is not None), None)
    built: dict[str, ValueKernel | BaselineValue] = {}
    used: dict[int, str] = {}
    for visit, day in visits.items():
        if day <= 0 and baseline is not None:
            built[visit] = BaselineValue(baseline)
        elif visit in learned:
            index = noise_index(day)
            if index in used:
                raise ProtocolError(
                    Problem(f'"{visit}" falls on the same day as "{used[index]}"; values need visits on different days', path=f"visits.{visit}")
                )
            used[index] = visit
            value = learned[visit]
            expected: Predictor = _Sum(constant=0.0, declared=LinearPredictor(process.prognostic, levels), fitted=value)
            built[visit] = VisitValue(expected, value.sd, _differences(truth, outcome, arms, visit, day, levels, value.arm_difference), index)
    return built


def dropout_laws(truth: Truth, arms: tuple[str, ...], levels: Levels) -> Dropout | None:
    """Loss to follow-up; None where it is not declared."""
    declared = truth.censoring.dropout
    if declared is None:
        return None

    def process(law: EventTimeLaw | None) -> EventTime | None:
        return None if law is None else EventTime(law, LinearPredictor(law.prognostic, levels) or None, [NO_EFFECT])

    if isinstance(declared, OutcomeProcess):
        return Dropout([process(declared)])
    return Dropout([process(declared.get(arm)) for arm in arms])
