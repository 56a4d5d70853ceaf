"""One cell, one block of replicates: from patients to the record of their trials.

compile_trial(cell) -> Trial          everything that does not depend on the replicate
observe(trial, block) -> Observables   cohort → twins → what their trials can reveal
simulate(trial, block) -> TrialRecord  observe → conduct, with its analyses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort import CohortModel, Criterion, draw_cohort
from trialsim.conduct import Accrual, Look, Randomization
from trialsim.conduct.comparison import Observables, PlannedAnalysis
from trialsim.conduct.follow_up import CauseFollowUp, CountFollowUp, EventFollowUp, ValueFollowUp, first_cause, follow, follow_to_visit
from trialsim.conduct.stratification import crossed
from trialsim.conduct.trial import conduct
from trialsim.errors import NotSupportedError
from trialsim.evaluation.truth import TrueValue, TwinSampler, true_log_hazard_ratio, true_mean_difference
from trialsim.parts import walk
from trialsim.records import Block, Cohort, Enrolment, Noise, RecurrentData, TrialRecord
from trialsim.rng import Streams
from trialsim.spec import Cell
from trialsim.spec.planning import planned_analyses, planned_looks
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.simulation import Keep
from trialsim.tensors import keep_freed_memory
from trialsim.twins import TwinModel
from trialsim.twins.recurrence import Course

PROGNOSIS = "twin_prognosis"


@dataclass(frozen=True)
class Endpoint:
    """A compiled endpoint: the outcomes it takes the first of, its visits (none for event times), its baseline visit.

    `is_event`: it is a time to event. A count without visits is of the events to the end of follow-up.
    """

    outcomes: tuple[str, ...]
    visits: tuple[str, ...]
    change_from: str | None
    is_event: bool = True


@dataclass(frozen=True)
class Trial:
    """A cell, compiled: everything that does not depend on the replicate."""

    design: str
    scenario: str
    seed: int
    n: int
    arms: tuple[str, ...]
    ratio: tuple[float, ...]
    accrual: Accrual
    randomization: Randomization
    cohort_model: CohortModel | None
    eligibility: Mapping[str, Criterion]
    twins: TwinModel
    visits: dict[str, float]
    endpoints: dict[str, Endpoint]
    looks: dict[str, Look]
    analyses: dict[str, PlannedAnalysis]
    primary_endpoint: str | None
    keep: Keep
    target_mcse: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"


def compile_trial(cell: Cell, directory: Path, *, device: str = "cpu") -> Trial:
    """Compile a concrete cell; fits (or loads from the cache) the cohort model where the protocol has a source.

    `device` is where its patients will be simulated, `cpu` or `cuda`; what is compiled is on the CPU. NotSupportedError where the
    protocol has a law that has no inverse there.
    """
    protocol = cell.protocol
    if device != "cpu":
        require_no_cpu_only(protocol, device)
    population, truth, randomization, accrual, seed = protocol.population, protocol.truth, protocol.randomization, protocol.accrual, protocol.simulation.seed
    # `Study.require_runnable` has seen to it that the sections are there.
    assert population is not None
    assert truth is not None
    assert randomization is not None
    assert accrual is not None
    arms = tuple(protocol.arms)
    visits = {name: visit.at for name, visit in protocol.visits.items() if visit.at is not None}
    cohort_model = population.cohort_model(directory) if population.covariates or population.source else None
    twins = TwinModel(truth, arms=arms, visits=visits, cohort=cohort_model)
    eligibility = population.eligibility
    twins.calibrate_missing_values(measured_at(protocol), lambda streams, block, n: _eligible(cohort_model, eligibility, streams, block, n))
    endpoints = {
        name: Endpoint(
            outcomes=tuple(endpoint.outcomes or ([endpoint.outcome] if endpoint.outcome else [])),
            visits=() if endpoint.is_event else tuple(endpoint.at),
            change_from=endpoint.change_from,
            is_event=endpoint.is_event,
        )
        for name, endpoint in protocol.endpoints.items()
    }
    looks = planned_looks(protocol)
    analyses = planned_analyses(protocol, looks, ignore_futility=cell.role == "null_hypothesis")
    monitored = [plan.endpoint for plan in analyses.values() if plan.looks]
    ratio = randomization.ratio or dict.fromkeys(arms, 1)
    return Trial(
        design=cell.design,
        scenario=cell.scenario,
        seed=0 if seed is None else seed,  # planning asks for no random numbers
        n=population.planned_enrollment,
        arms=arms,
        ratio=tuple(float(ratio[arm]) for arm in arms),
        accrual=accrual,
        randomization=randomization,
        cohort_model=cohort_model,
        eligibility=population.eligibility,
        twins=twins,
        visits=visits,
        endpoints=endpoints,
        looks=looks,
        analyses=analyses,
        primary_endpoint=next((name for name in monitored if endpoints[name].is_event), None),
        keep=protocol.simulation.keep,
        target_mcse=protocol.simulation.precision(),
        device=device,
    )


def require_no_cpu_only(protocol: Protocol, device: str) -> None:
    """NotSupportedError, which names every law whose inverse only the CPU has."""
    found = [f"{'.'.join(map(str, path))}: the {getattr(part, 'dist', type(part).__name__)} law" for path, part in walk(protocol) if part.cpu_only]
    if found:
        raise NotSupportedError([f"{what} on --device {device} (its inverse is SciPy's; use --device cpu)" for what in found])


def simulate(trial: Trial, block: Block) -> TrialRecord:
    """Simulate the trials of a block, on the trial's device; the record is on the CPU.

    The numbers of a replicate do not depend on the block it is in: on a CPU to the last bit, on CUDA to 1e-9.
    """
    keep_freed_memory()
    observables = observe(trial, block)
    return conduct(block, observables, arms=trial.arms, looks=trial.looks, analyses=trial.analyses, primary_endpoint=trial.primary_endpoint)


def observe(trial: Trial, block: Block) -> Observables:
    """The patients of a block, their randomisation, and everything that would be seen of them if nobody ever stopped looking.

    All on the trial's device.
    """
    streams, n = _streams(trial.seed, trial.device), trial.n
    cohort = draw(trial, streams, block, n)
    entry_time = trial.accrual.entry_times(streams, block, n)
    stratum, n_strata = crossed(cohort, trial.randomization.stratify_by or ()) if trial.randomization.method == "stratified_block" else (None, 1)
    arm = trial.randomization.allocate(streams, block, n, arms=trial.arms, stratum=stratum, n_strata=n_strata)
    enrolment = Enrolment(entry_time=entry_time, arm=arm, stratum=stratum, n_strata=n_strata)

    dropout = trial.twins.dropout_time(streams=streams, block=block, n=n, cohort=cohort, arm=arm)
    nature = Nature(trial, streams, block, cohort, arm, dropout)
    events: dict[str, EventFollowUp] = {}
    causes: dict[tuple[str, str], CauseFollowUp] = {}
    values: dict[tuple[str, str], ValueFollowUp] = {}
    counts: dict[tuple[str, str | None], CountFollowUp] = {}
    baselines: dict[str, Tensor] = {}
    starts: dict[str, Tensor] = {}
    for name, endpoint in trial.endpoints.items():
        if not endpoint.outcomes:
            continue
        if endpoint.is_event:
            times = nature.times(endpoint.outcomes)
            events[name] = follow(reduce(torch.minimum, times), nature.end_of_follow_up(endpoint.outcomes), entry_time)
            for cause in {plan.cause for plan in trial.analyses.values() if plan.endpoint == name and plan.cause is not None}:
                causes[name, cause] = first_cause(times, endpoint.outcomes.index(cause), events[name])
            if any(plan.endpoint == name and plan.method.record is RecurrentData for plan in trial.analyses.values()):
                counts[name, None] = CountFollowUp(nature.course(endpoint.outcomes[0]), None, dropout)
            continue
        outcome = endpoint.outcomes[0]
        recurs = trial.twins.recurs(outcome)
        if recurs and not endpoint.visits:
            counts[name, None] = CountFollowUp(nature.course(outcome), None, dropout)
        baseline = None
        if endpoint.change_from is not None:
            baseline = baselines[name] = starts[name] = nature.value(outcome, endpoint.change_from)
        elif endpoint.visits and (start := trial.twins.start(outcome, cohort)) is not None:
            starts[name] = start
        missing = nature.missing(outcome) if endpoint.visits else {}
        for visit in endpoint.visits:
            value = nature.value(outcome, visit)
            value = value if baseline is None else value - baseline
            value = value.masked_fill(missing[visit], torch.nan) if visit in missing else value
            values[name, visit] = follow_to_visit(value, trial.visits[visit], dropout, entry_time)
            if recurs:
                counts[name, visit] = CountFollowUp(nature.course(outcome), trial.visits[visit], dropout, missing.get(visit))

    return Observables(
        enrolment=enrolment,
        events=events,
        values=values,
        noise={name: Noise(streams(f"imputation/{name}"), block) for name, plan in trial.analyses.items() if plan.method.imputation is not None},
        counts=counts,
        causes=causes,
        starts=starts,
        covariates={name: _covariates(trial, plan, cohort, streams, block) for name, plan in trial.analyses.items() if plan.method.covariates},
        strata={name: crossed(cohort, plan.method.stratify_by) for name, plan in trial.analyses.items() if plan.method.stratify_by},
        cohort=cohort,
        dropout_time=dropout,
        baselines=baselines,
    )


@dataclass
class Nature:
    """What happens to the patients of a block under their assigned arms; what several endpoints share is drawn once."""

    trial: Trial
    streams: Streams
    block: Block
    cohort: Cohort
    arm: Tensor
    dropout: Tensor | None
    _values: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    _courses: dict[str, Course] = field(default_factory=dict)

    @property
    def _who(self) -> dict[str, Any]:
        return {"streams": self.streams, "block": self.block, "n": self.trial.n, "cohort": self.cohort, "arm": self.arm}

    def times(self, outcomes: Sequence[str]) -> list[Tensor]:
        """The times of these events."""
        return self.trial.twins.event_times(outcomes, **self._who)

    def end_of_follow_up(self, outcomes: Sequence[str]) -> Tensor | None:
        """Loss to follow-up, or the death that ends the follow-up of these events."""
        death = self.trial.twins.end_of_follow_up(outcomes, **self._who)
        return self.dropout if death is None else death if self.dropout is None else torch.minimum(death, self.dropout)

    def course(self, outcome: str) -> Course:
        """The events of an outcome that come again."""
        if outcome not in self._courses:
            self._courses[outcome] = self.trial.twins.recurrent_events(outcome, **self._who)
        return self._courses[outcome]

    def value(self, outcome: str, visit: str) -> Tensor:
        """The outcome at a visit."""
        known = self._values.setdefault(outcome, {})
        if visit not in known:
            wanted = [at for at in self._measured(outcome) if at not in known]
            known |= self.trial.twins.values(outcome, wanted if visit in wanted else [visit], **self._who)
        return known[visit]

    def missing(self, outcome: str) -> dict[str, Tensor]:
        """By visit, whose value is missing though they came."""
        if not self.trial.twins.has_missing_values(outcome):
            return {}
        values = {visit: self.value(outcome, visit) for visit in self._measured(outcome)}
        who = {name: item for name, item in self._who.items() if name != "arm"}
        return self.trial.twins.missing_values(outcome, values, self.trial.twins.start(outcome, self.cohort), **who)

    def _measured(self, outcome: str) -> list[str]:
        found = {visit for endpoint in self.trial.endpoints.values() if outcome in endpoint.outcomes for visit in endpoint.visits}
        return sorted(found, key=lambda visit: self.trial.visits[visit])


def measured_at(protocol: Protocol) -> dict[str, list[str]]:
    """Outcome -> the visits at which some endpoint measures it."""
    found: dict[str, list[str]] = {}
    for endpoint in protocol.endpoints.values():
        for outcome in endpoint.components:
            found.setdefault(outcome, []).extend(visit for visit in endpoint.at if visit not in found.get(outcome, ()) and not endpoint.is_event)
    return found


def draw(trial: Trial, streams: Streams, block: Block, n: int) -> Cohort:
    """The eligible patients of a block; no columns where the protocol describes none."""
    return _eligible(trial.cohort_model, trial.eligibility, streams, block, n)


def _eligible(model: CohortModel | None, eligibility: Mapping[str, Criterion], streams: Streams, block: Block, n: int) -> Cohort:
    return Cohort(columns={}) if model is None else draw_cohort(model, eligibility, streams, block, n)


def true_values(trial: Trial, median_cut: float) -> dict[str, TrueValue | None]:
    """The true value of each analysis's estimand, by analysis, on the scale of inference; see `evaluation.truth`.

    `median_cut` is the median calendar time (days) at which the cell's trials stopped: hazard ratios are true up to there.
    None where no true value exists. Twins come from streams of their own, on the CPU whatever the trial's device: one truth for all.
    """
    streams = Streams(f"{trial.seed}/truth")
    sampler = TwinSampler(
        streams=streams,
        n=trial.n,
        entry_times=lambda block: trial.accrual.entry_times(streams, block, trial.n),
        cohort=lambda block: draw(trial, streams, block, trial.n),
    )
    found: dict[str, TrueValue | None] = {}
    known: dict[tuple[str, str | None, int, int], TrueValue | None] = {}
    for name, plan in trial.analyses.items():
        question = plan.endpoint, plan.visit, plan.test, plan.reference
        if question not in known:
            outcomes = trial.endpoints[plan.endpoint].outcomes
            if plan.visit is None:
                known[question] = true_log_hazard_ratio(
                    trial.twins,
                    outcomes,
                    test=plan.test,
                    reference=plan.reference,
                    sampler=sampler,
                    cut_time=median_cut,
                    weights=(trial.ratio[plan.test], trial.ratio[plan.reference]),
                )
            else:
                known[question] = true_mean_difference(trial.twins, outcomes[0], plan.visit, test=plan.test, reference=plan.reference, sampler=sampler)
        found[name] = known[question]
    return found


@lru_cache(maxsize=8)
def _streams(seed: int, device: str) -> Streams:
    return Streams(seed, device)


def _covariates(trial: Trial, plan: PlannedAnalysis, cohort: Cohort, streams: Streams, block: Block) -> Float[Tensor, "replicate patient covariate"]:
    """The numeric columns of an analysis's covariates: categories become indicators of all levels but the first."""
    columns: list[Tensor] = []
    for name in plan.method.covariates:
        if name == PROGNOSIS:
            outcome = trial.endpoints[plan.endpoint].outcomes[0]
            columns.append(trial.twins.prognosis(outcome, plan.visit, cohort, streams=streams, block=block, n=trial.n))
        elif len(cohort.levels.get(name, ())) > 2:
            columns += [(cohort.columns[name] == level).to(torch.float64) for level in range(1, len(cohort.levels[name]))]
        else:
            columns.append(cohort.columns[name])
    shape = next((column.shape for column in columns if column.shape[-1] > 1), columns[0].shape)
    return torch.stack([column.to(trial.device).expand(shape) for column in columns], dim=-1)
