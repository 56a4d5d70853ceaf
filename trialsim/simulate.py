"""One cell, one block of replicates: from patients to the record of their trials.

compile_trial(cell) -> Trial          everything that does not depend on the replicate
observe(trial, block) -> Observables   cohort → twins → what their trials can reveal
simulate(trial, block) -> TrialRecord  observe → conduct, with its analyses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort import CohortModel, Criterion, draw_cohort
from trialsim.conduct import Accrual, Look, Randomization
from trialsim.conduct.comparison import Observables, PlannedAnalysis
from trialsim.conduct.follow_up import EventFollowUp, ValueFollowUp, follow, follow_to_visit
from trialsim.conduct.stratification import crossed
from trialsim.conduct.trial import conduct
from trialsim.errors import NotSupportedError
from trialsim.evaluation.truth import TrueValue, TwinSampler, true_log_hazard_ratio, true_mean_difference
from trialsim.parts import walk
from trialsim.records import Block, Cohort, Enrolment, TrialRecord
from trialsim.rng import Streams
from trialsim.spec import Cell
from trialsim.spec.planning import planned_analyses, planned_looks
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.simulation import Keep
from trialsim.tensors import keep_freed_memory
from trialsim.twins import TwinModel

PROGNOSIS = "twin_prognosis"


@dataclass(frozen=True)
class Endpoint:
    """A compiled endpoint: the outcomes it takes the first of, its visits (none for event times), its baseline visit."""

    outcomes: tuple[str, ...]
    visits: tuple[str, ...]
    change_from: str | None


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
    endpoints = {
        name: Endpoint(
            outcomes=tuple(endpoint.outcomes or ([endpoint.outcome] if endpoint.outcome else [])),
            visits=() if endpoint.is_event else tuple(endpoint.at),
            change_from=endpoint.change_from,
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
        primary_endpoint=next((name for name in monitored if not endpoints[name].visits), None),
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
    events: dict[str, EventFollowUp] = {}
    values: dict[tuple[str, str], ValueFollowUp] = {}
    baselines: dict[str, Tensor] = {}
    for name, endpoint in trial.endpoints.items():
        if endpoint.visits:
            baseline = None
            if endpoint.change_from is not None:
                baseline = baselines[name] = _value(trial, endpoint.outcomes[0], endpoint.change_from, streams, block, cohort, arm)
            for visit in endpoint.visits:
                value = _value(trial, endpoint.outcomes[0], visit, streams, block, cohort, arm)
                values[name, visit] = follow_to_visit(value if baseline is None else value - baseline, trial.visits[visit], dropout, entry_time)
        else:
            times = [trial.twins.event_time(outcome, streams=streams, block=block, n=n, cohort=cohort, arm=arm) for outcome in endpoint.outcomes]
            first = times[0]
            for other in times[1:]:
                first = torch.minimum(first, other)
            events[name] = follow(first, dropout, entry_time)

    return Observables(
        enrolment=enrolment,
        events=events,
        values=values,
        covariates={name: _covariates(trial, plan, cohort) for name, plan in trial.analyses.items() if plan.method.covariates},
        strata={name: crossed(cohort, plan.method.stratify_by) for name, plan in trial.analyses.items() if plan.method.stratify_by},
        cohort=cohort,
        dropout_time=dropout,
        baselines=baselines,
    )


def draw(trial: Trial, streams: Streams, block: Block, n: int) -> Cohort:
    """The eligible patients of a block; no columns where the protocol describes none."""
    if trial.cohort_model is None:
        return Cohort(columns={})
    return draw_cohort(trial.cohort_model, trial.eligibility, streams, block, n)


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


def _value(trial: Trial, outcome: str, visit: str, streams: Streams, block: Block, cohort: Cohort, arm: Tensor) -> Float[Tensor, "replicate patient"]:
    return trial.twins.value(outcome, visit, streams=streams, block=block, n=trial.n, cohort=cohort, arm=arm)


def _covariates(trial: Trial, plan: PlannedAnalysis, cohort: Cohort) -> Float[Tensor, "replicate patient covariate"]:
    """The numeric columns of an analysis's covariates: categories become indicators of all levels but the first."""
    columns: list[Tensor] = []
    for name in plan.method.covariates:
        if name == PROGNOSIS:
            columns.append(trial.twins.prognosis(trial.endpoints[plan.endpoint].outcomes[0], plan.visit, cohort))
        elif len(cohort.levels.get(name, ())) > 2:
            columns += [(cohort.columns[name] == level).to(torch.float64) for level in range(1, len(cohort.levels[name]))]
        else:
            columns.append(cohort.columns[name])
    shape = next((column.shape for column in columns if column.shape[-1] > 1), columns[0].shape)
    return torch.stack([column.to(trial.device).expand(shape) for column in columns], dim=-1)
