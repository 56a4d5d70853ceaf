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
from trialsim.twins.compile_effect import hazard_ratio, mean_difference
from trialsim.twins.dropout import Dropout
from trialsim.twins.event_time import NO_EFFECT, EventTime, HazardRatio, Predictor
from trialsim.twins.events import EventTimeLaw, FittedEventTime
from trialsim.twins.fitted_outcomes import FittedEvent, FittedOutcomes, FittedValue
from trialsim.twins.process import EventLaw, OutcomeProcess
from trialsim.twins.prognosis import LinearPredictor
from trialsim.twins.step_hazard import StepHazard
from trialsim.twins.truth import Truth
from trialsim.twins.values import FittedValues, NormalValue
from trialsim.twins.visit_value import MeanDifference, VisitValue, noise_index

Levels = Mapping[str, tuple[str, ...]]
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
            total = torch.full((1, 1), self.constant, dtype=torch.float64) if total is None else total + self.constant
        return total


def _fitted(cohort: CohortModel | None, outcome: str, what: str) -> FittedOutcomes:
    if not isinstance(cohort, FittedOutcomes):
        raise ProtocolError(Problem(f"{what} needs a cohort model fitted to data (population.source)", path=f"truth.outcomes.{outcome}"))
    return cohort


def _fitted_number(numbers: Mapping[str, float], arm: str, outcome: str, scaled: bool) -> float:
    if scaled and arm not in numbers:
        raise ProtocolError(Problem(f'the fitted data have no arm "{arm}"{did_you_mean(arm, numbers)}', path=f"truth.effects.{arm}.{outcome}.fitted"))
    return numbers.get(arm, 0.0)


def event_times(truth: Truth, arms: tuple[str, ...], cohort: CohortModel | None, levels: Levels) -> dict[str, EventTime]:
    """Every event-time outcome that can be run."""
    built: dict[str, EventTime] = {}
    for outcome, process in truth.outcomes.items():
        declared = {arm: truth.effects.get(arm, {}).get(outcome) for arm in arms}
        if isinstance(process, EventLaw) and process.supported:
            predictor = LinearPredictor(process.prognostic, levels)
            built[outcome] = EventTime(process, predictor or None, [hazard_ratio(declared[arm], levels=levels) for arm in arms])
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


def visit_values(
    truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, dict[str, VisitValue | BaselineValue]]:
    """Every outcome with values that can be run, by visit."""
    built: dict[str, dict[str, VisitValue | BaselineValue]] = {}
    for outcome, process in truth.outcomes.items():
        if isinstance(process, NormalValue):
            built[outcome] = _normal(process, outcome, truth, arms, visits, cohort, levels)
        elif isinstance(process, FittedValues):
            built[outcome] = _fitted_values(process, outcome, truth, arms, visits, cohort, levels)
    return built


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
) -> dict[str, VisitValue | BaselineValue]:
    if process.baseline is not None and (cohort is None or process.baseline not in cohort.names):
        names = () if cohort is None else cohort.names
        raise ProtocolError(
            Problem(
                f'"{process.baseline}" is not a covariate{did_you_mean(process.baseline, names) if names else "; the population has none"}',
                path=f"truth.outcomes.{outcome}.baseline",
            )
        )
    expected: Predictor = _Sum(constant=process.mean, declared=LinearPredictor(process.prognostic, levels))
    built: dict[str, VisitValue | BaselineValue] = {}
    for visit, day in visits.items():
        if process.baseline is not None and day <= 0:
            built[visit] = BaselineValue(process.baseline)
        else:
            built[visit] = VisitValue(expected, process.sd, _differences(truth, outcome, arms, visit, day, levels, None), index=0)
    built.setdefault(NO_VISIT, VisitValue(expected, process.sd, _differences(truth, outcome, arms, NO_VISIT, math.inf, levels, None), index=0))
    return built


def _fitted_values(
    process: FittedValues, outcome: str, truth: Truth, arms: tuple[str, ...], visits: Mapping[str, float], cohort: CohortModel | None, levels: Levels
) -> dict[str, VisitValue | BaselineValue]:
    learned = {visit: value for (name, visit), value in _fitted(cohort, outcome, "model: fitted").values.items() if name == outcome}
    baseline = next((value.baseline for value in learned.values() if value.baseline is not None), None)
    built: dict[str, VisitValue | BaselineValue] = {}
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
