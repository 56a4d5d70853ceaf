"""What a scenario implies at the looks of an analysis, by expectation instead of simulation.

Times to event: the log-rank drift from the expected events and numbers at risk (`logrank_drift`), which allows for delayed,
crossing and waning effects and for strata. Means: the difference and the unexplained standard deviation on a sample of
twins (`value_drift`). Bounds are those of the plan, or, where the scenario moves the information (calendar looks, targets
out of reach), those that the expected information gives.

Not handled, and left out rather than approximated: weighted log-rank and other methods, margins, several test arms.
Covariates of a Cox model are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.conduct.expectation import ExpectedCourse, expected_course_of_twins
from trialsim.conduct.looks import Look
from trialsim.conduct.stratification import crossed
from trialsim.design import Bounds, HazardRatioAbove, bounds
from trialsim.evaluation.logrank_drift import logrank_drift
from trialsim.evaluation.look_times import ExpectedTrial
from trialsim.evaluation.planned import ScenarioLooks
from trialsim.evaluation.value_drift import MeanEffect, mean_effect
from trialsim.records import Cohort
from trialsim.rng import Block, Streams
from trialsim.twins import TwinModel

Array = NDArray[np.float64]
N_BASELINES = 1024  # patients whose survival is averaged
N_TWINS = 20_000  # twins whose values give differences and standard deviations
PROGNOSIS = "twin_prognosis"

LOGRANK_METHOD = "normal approximation; log-rank drift from expected events and numbers at risk"
LOGRANK_SOURCE = "Schoenfeld 1981, doi 10.1093/biomet/68.1.316; Yung & Liu 2020, doi 10.1111/biom.13196; Jennison & Turnbull 2000, ch. 19"
MEANS_METHOD = "normal approximation; difference and standard deviation of a sample of twins"
MEANS_SOURCE = "Jennison & Turnbull 2000, ch. 3 and 19"


@dataclass(frozen=True)
class Prospect:
    """One cell, as far as expectations need it.

    `outcomes` of each endpoint (the first of them counts), `change_from` its baseline visit where it has one. `cohort`
    `[1 patient]` is a sample of N_TWINS eligible patients, None where the population has no covariates.
    """

    twins: TwinModel
    looks: Mapping[str, Look]
    entry_time: Array
    ratio: Sequence[float]
    outcomes: Mapping[str, Sequence[str]]
    change_from: Mapping[str, str | None]
    visits: Mapping[str, float]
    cohort: Cohort | None
    streams: Streams

    @property
    def share(self) -> Array:
        """Of the randomised, in each arm."""
        return np.asarray(self.ratio, dtype=np.float64) / sum(self.ratio)

    def expected_trial(self) -> ExpectedTrial:
        """When looks fall, and who has been seen by then."""
        few, arms = _first(self.cohort, N_BASELINES), range(len(self.ratio))
        courses = {
            name: expected_course_of_twins(twins=self.twins, outcomes=outcomes, entry_time=self.entry_time, share=self.ratio, cohort=few)
            for name, outcomes in self.outcomes.items()
            if all(self.twins.is_event(outcome) for outcome in outcomes)
        }
        retention = {visit: np.array([float(self.twins.dropout_survival(arm, day, few).mean()) for arm in arms]) for visit, day in self.visits.items()}
        return ExpectedTrial(self.entry_time, self.share, courses, dict(self.visits), retention)


@dataclass(frozen=True, slots=True)
class LooksAhead:
    """When the looks of an analysis are expected under a scenario, `[look]` each, and the bounds it meets there.

    Fewer looks than planned where the scenario ends the trial early. `counted` is the information in the arms that inform
    its looks: expected events, or patients with a value; `events` are those of all arms, None where the trial counts none.
    """

    time: Sequence[float]
    enrolled: Sequence[int]
    events: Sequence[float] | None
    counted: Array
    by_arm: Sequence[Array]
    bounds: Bounds


def predictable(plan: PlannedAnalysis) -> bool:
    """Whether the analysis is one whose drift is known."""
    method = plan.method
    if method.type != "superiority" or plan.spans_arms or getattr(method, "trend", None) or getattr(method, "weights", None):
        return False
    return getattr(method, "method", "") in (("logrank", "cox") if plan.visit is None else ("t_test", "ancova"))


def looks_ahead(prospect: Prospect, trial: ExpectedTrial, plan: PlannedAnalysis, *, primary_endpoint: str | None) -> LooksAhead:
    """The looks of an analysis in expectation. `primary_endpoint`: whose events the triggers of looks count by default."""
    looks = list(prospect.looks.values())
    times = trial.look_times(looks, primary_endpoint)
    own = [look for look in plan.looks if look < len(times)] if plan.looks else [len(times) - 1]
    at = [times[look] for look in own]
    by_arm = [trial.courses[plan.endpoint].events_by_arm(time) if plan.visit is None else trial.completers_by_arm(plan.visit, time) for time in at]
    informing = list(plan.informing or (plan.test, plan.reference))
    counted = np.array([row[informing].sum() for row in by_arm])
    endpoint = primary_endpoint if primary_endpoint in trial.courses else next(iter(trial.courses), None)
    events = None if endpoint is None else [trial.courses[endpoint].events(time) for time in at]
    met = _bounds(plan, counted, complete=len(times) == len(looks))
    return LooksAhead(at, [trial.enrolled(time) for time in at], events, counted, by_arm, met)


def predict(prospect: Prospect, ahead: LooksAhead, plan: PlannedAnalysis) -> ScenarioLooks:
    """What the scenario implies for the statistic at these looks; the analysis must be `predictable`."""
    if plan.visit is None:
        drift = logrank_drift(_stratified_course(prospect, plan), test=plan.test, reference=plan.reference, calendar=ahead.time)
        mean_z, information = -plan.favours * drift.mean_z, drift.information
        method, source = LOGRANK_METHOD, LOGRANK_SOURCE
    else:
        test, reference = ([row[arm] for row in ahead.by_arm] for arm in (plan.test, plan.reference))
        mean_z, information = _mean_effect(prospect, plan, plan.visit).mean_z(test, reference, favours=plan.favours)
        method, source = MEANS_METHOD, MEANS_SOURCE
    if np.any(np.diff(information, prepend=0.0) <= 0.0):  # a look that adds nothing: keep the planned correlations
        information = ahead.bounds.information
    return ScenarioLooks(mean_z, information, ahead.time, ahead.enrolled, ahead.events, method, source)


def _stratified_course(prospect: Prospect, plan: PlannedAnalysis) -> ExpectedCourse:
    few, names = _first(prospect.cohort, N_BASELINES), plan.method.stratify_by
    stratum = crossed(few, names)[0][0].numpy().astype(np.int64) if names and few is not None else None
    return expected_course_of_twins(
        twins=prospect.twins, outcomes=prospect.outcomes[plan.endpoint], entry_time=prospect.entry_time, share=prospect.ratio, cohort=few, stratum=stratum
    )


def _mean_effect(prospect: Prospect, plan: PlannedAnalysis, visit: str) -> MeanEffect:
    outcome, before = prospect.outcomes[plan.endpoint][0], prospect.change_from.get(plan.endpoint)

    def value(at: str, arm: int) -> Array:
        drawn = prospect.twins.value(outcome, at, streams=prospect.streams, block=Block(0, 1), n=N_TWINS, cohort=prospect.cohort, arm=arm)
        return np.asarray(drawn.numpy()[0], dtype=np.float64)

    test, reference = (value(visit, arm) - (0.0 if before is None else value(before, arm)) for arm in (plan.test, plan.reference))
    return mean_effect(test=test, reference=reference, covariates=_covariates(prospect, plan, outcome, visit))


def _covariates(prospect: Prospect, plan: PlannedAnalysis, outcome: str, visit: str) -> Array | None:
    columns: list[torch.Tensor] = []
    for name in plan.method.covariates:
        if name == PROGNOSIS:
            columns.append(prospect.twins.prognosis(outcome, visit, prospect.cohort))
        elif prospect.cohort is not None and len(prospect.cohort.levels.get(name, ())) > 2:
            columns += [(prospect.cohort.columns[name] == level).double() for level in range(1, len(prospect.cohort.levels[name]))]
        elif prospect.cohort is not None:
            columns.append(prospect.cohort.columns[name])
    return np.stack([column.expand(1, N_TWINS)[0].numpy() for column in columns], axis=1) if columns else None


def _bounds(plan: PlannedAnalysis, counted: Array, *, complete: bool) -> Bounds:
    """The planned bounds, or those that the expected information gives where it is not the planned one."""
    monitoring = plan.monitoring
    if not plan.looks:
        return bounds(efficacy=None, futility=None, alpha=monitoring.alpha, sides=monitoring.sides, information=(1.0,))
    if complete and not monitoring.by_calendar:
        return monitoring.at_plan
    reached = list(counted) if monitoring.by_calendar else [*monitoring.targets[: len(counted) - 1], float(counted[-1])]
    information = np.maximum.accumulate(np.asarray(reached) / monitoring.planned)
    by_ratio = isinstance(monitoring.futility, HazardRatioAbove)
    return bounds(
        efficacy=monitoring.efficacy,
        futility=monitoring.futility,
        alpha=monitoring.alpha,
        sides=monitoring.sides,
        information=information,
        planned=None if monitoring.by_calendar else [target / monitoring.planned for target in monitoring.targets],
        events=[value * monitoring.compared_share for value in reached] if by_ratio else None,
        test_share=monitoring.test_share if by_ratio else None,
    )


def _first(cohort: Cohort | None, n: int) -> Cohort | None:
    return None if cohort is None else Cohort({name: column[:, :n] for name, column in cohort.columns.items()}, cohort.levels)
