"""One cell, one block of replicates: from patients to the record of their trials.

compile_trial(cell) -> Trial          everything that does not depend on the replicate
observe(trial, block) -> Observables   cohort → twins → what their trials can reveal
simulate(trial, block) -> TrialRecord  observe → conduct, with its analyses
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial, reduce
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort import CohortModel, Criterion, draw_cohort
from trialsim.conduct import Accrual, Look, Randomization
from trialsim.conduct.comparison import Comparison, Observables, PlannedAnalysis
from trialsim.conduct.families import PlannedFamily
from trialsim.conduct.follow_up import CauseFollowUp, CountFollowUp, EventFollowUp, ValueFollowUp, first_cause, follow, follow_to_visit
from trialsim.conduct.stratification import crossed
from trialsim.conduct.trial import conduct
from trialsim.errors import NotSupportedError
from trialsim.evaluation.true_summaries import TrueQuestion, question_of, true_of_pairs, true_summary
from trialsim.evaluation.truth import N_TWINS, TrueValue, TwinSampler
from trialsim.parts import walk
from trialsim.records import AnalysisData, Block, Cohort, Enrolment, Noise, RecurrentData, TrialRecord
from trialsim.rng import Streams
from trialsim.spec import Cell
from trialsim.spec.families import planned_families
from trialsim.spec.planning import planned_analyses, planned_looks
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.simulation import Keep
from trialsim.tensors import keep_freed_memory
from trialsim.twins import TwinModel
from trialsim.twins.nature import Nature

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
    families: Mapping[str, PlannedFamily] = field(default_factory=dict)
    device: str = "cpu"
    measured: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    measured = measured_at(protocol, visits)
    twins.calibrate_curves(lambda streams, block, n: _eligible(cohort_model, eligibility, streams, block, n))
    twins.calibrate_missing_values(measured, lambda streams, block, n: _eligible(cohort_model, eligibility, streams, block, n))
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
        families=planned_families(protocol),
        primary_endpoint=next((name for name in monitored if endpoints[name].is_event), None),
        keep=protocol.simulation.keep,
        target_mcse=protocol.simulation.precision(),
        device=device,
        measured=measured,
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
    return conduct(
        block,
        observables,
        arms=trial.arms,
        looks=trial.looks,
        analyses=trial.analyses,
        primary_endpoint=trial.primary_endpoint,
        families=trial.families,
    )


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
    return _observed(trial, streams, block, cohort, enrolment, dropout)


def _observed(trial: Trial, streams: Streams, block: Block, cohort: Cohort, enrolment: Enrolment, dropout: Tensor | None) -> Observables:
    """What becomes of these patients under their arms."""
    entry_time = enrolment.entry_time
    nature = Nature(trial.twins, streams, block, trial.n, cohort, enrolment.arm, dropout, trial.measured)
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

    asked = {plan.analysis or name: plan for name, plan in trial.analyses.items()}  # the arms of an analysis share what it adjusts for
    return Observables(
        enrolment=enrolment,
        events=events,
        values=values,
        noise={name: Noise(streams(f"imputation/{name}"), block) for name, plan in asked.items() if plan.method.imputation is not None},
        counts=counts,
        causes=causes,
        starts=starts,
        covariates={name: _covariates(trial, plan, cohort, streams, block) for name, plan in asked.items() if plan.method.covariates},
        strata={name: crossed(cohort, plan.method.stratify_by) for name, plan in asked.items() if plan.method.stratify_by},
        cohort=cohort,
        dropout_time=dropout,
        baselines=baselines,
    )


def measured_at(protocol: Protocol, visits: Mapping[str, float]) -> dict[str, list[str]]:
    """Outcome -> the visits at which some endpoint measures it, in order of time."""
    found: dict[str, set[str]] = {}
    for endpoint in protocol.endpoints.values():
        for outcome in () if endpoint.is_event else endpoint.components:
            found.setdefault(outcome, set()).update(endpoint.at)
    return {outcome: sorted(named, key=lambda visit: visits[visit]) for outcome, named in found.items()}


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
    trial, streams = replace(trial, device="cpu"), Streams(f"{trial.seed}/truth")
    sampler = TwinSampler(
        streams=streams,
        n=trial.n,
        entry_times=lambda block: trial.accrual.entry_times(streams, block, trial.n),
        cohort=lambda block: draw(trial, streams, block, trial.n),
    )
    found: dict[str, TrueValue | None] = {}
    known: dict[TrueQuestion | str, TrueValue | None] = {}
    for name, plan in trial.analyses.items():
        if plan.spans_arms:
            found[name] = None  # a trend or a contrast is no difference between two arms
            continue
        named = [tier.endpoint for tier in plan.tiers] or [plan.endpoint]
        outcomes = tuple(outcome for endpoint in named for outcome in trial.endpoints[endpoint].outcomes)
        asked = question_of(plan, outcomes, cut_time=median_cut, weights=(trial.ratio[plan.test], trial.ratio[plan.reference]))
        if plan.method.covariates and asked.conditional:
            asked = replace(asked, covariates=partial(_true_covariates, trial, plan, streams))
        if plan.method.stratify_by and asked.conditional:
            asked = replace(asked, strata=partial(_strata, plan))
        by_pairs = plan.tiers or asked.measure == "median_of_differences"
        key: TrueQuestion | str = name if by_pairs or asked.conditional else asked
        if key not in known:
            known[key] = (
                true_of_pairs(trial.twins, asked, partial(_pairs, trial, plan, streams, sampler, median_cut))
                if by_pairs
                else true_summary(trial.twins, asked, sampler)
            )
        found[name] = known[key]
    return found


def _pairs(trial: Trial, plan: PlannedAnalysis, streams: Streams, sampler: TwinSampler, cut_time: float) -> Iterator[AnalysisData]:
    """What the analysis would see of twins under alternating arms, all followed to the cut without loss."""
    for block in sampler.blocks(N_TWINS):
        cohort, entry_time = draw(trial, streams, block, trial.n), sampler.entry_times(block)
        odd = (torch.arange(trial.n, dtype=torch.int8, device="cpu") & 1).bool()
        arm = torch.where(odd, plan.reference, plan.test).to(torch.int8).expand(block.size, trial.n).contiguous()
        enrolment = Enrolment(entry_time=entry_time, arm=arm, stratum=None, n_strata=1)
        seen = _observed(replace(trial, analyses={"pairs": plan}), streams, block, cohort, enrolment, None)
        comparison = Comparison(plan, replace(seen, strata={}), "pairs", len(trial.arms))
        yield comparison.data(torch.full((block.size,), cut_time, dtype=torch.float64, device="cpu"), torch.arange(block.size, device="cpu"))


def _true_covariates(trial: Trial, plan: PlannedAnalysis, streams: Streams, block: Block, cohort: Cohort) -> Tensor:
    return _covariates(trial, plan, cohort, streams, block)


def _strata(plan: PlannedAnalysis, cohort: Cohort) -> Tensor:
    return crossed(cohort, plan.method.stratify_by)[0]


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
