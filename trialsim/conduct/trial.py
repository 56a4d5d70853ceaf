"""Conduct of a block of trials: look after look, until every monitored analysis has decided.

The trial stops at the look where every analysis that has looks has crossed its efficacy or futility bound, at its last
look, or at the first look whose target cannot be reached (all looks left collapse into that one, which spends the rest of
alpha). Analyses that name no looks are made there, at their full alpha. Replicates that have stopped leave the block
before the next look, except futility-stopped ones still needed to know what would have happened without futility.

Not handled here: adaptations, several test arms in one analysis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis import Analysis
from trialsim.analysis.arm_hazard_ratio import score_at_log_hr
from trialsim.analysis.inference import normal_statistic
from trialsim.conduct.cuts import Conditions, cut_time, visit_completion
from trialsim.conduct.follow_up import EventFollowUp, ValueFollowUp, n_enrolled
from trialsim.conduct.looks import Look
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.design import HazardRatioAbove
from trialsim.records import AnalysisRecord, Block, Enrolment, Estimates, EventData, TrialRecord, ValueData
from trialsim.tensors import at_most, count_last


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """One comparison of two arms (indices in protocol order), compiled.

    `favours` is +1 when a larger estimate favours the test arm. `looks` are indices into the trial's looks; empty for an
    analysis made once, where the trial ends. `visit` is set for single-valued endpoints. `ignore_futility`: also find out
    whether efficacy would have been declared without the (non-binding) futility rule.
    """

    method: Analysis
    endpoint: str
    test: int
    reference: int
    favours: int
    looks: tuple[int, ...]
    monitoring: MonitoringPlan
    visit: str | None = None
    ignore_futility: bool = False


@dataclass(frozen=True, slots=True)
class Observables:
    """Everything a block of trials can reveal. Covariates and strata are by analysis."""

    enrolment: Enrolment
    events: Mapping[str, EventFollowUp]
    values: Mapping[tuple[str, str], ValueFollowUp]
    covariates: Mapping[str, Float[Tensor, "replicate patient covariate"]]
    strata: Mapping[str, tuple[Int[Tensor, "replicate patient"], int]]


def conduct(
    block: Block,
    observables: Observables,
    *,
    arms: tuple[str, ...],
    looks: Mapping[str, Look],
    analyses: Mapping[str, PlannedAnalysis],
    primary_endpoint: str | None,
) -> TrialRecord:
    """Run every trial of the block to its end."""
    enrolment = observables.enrolment
    conditions = Conditions(entry_time=enrolment.entry_time, events=observables.events, visits=visit_completion(observables.values), n_replicates=block.size)
    cuts, reached_target = _all_cuts(looks, conditions, primary_endpoint)
    n_looks = len(looks)
    # The look at which a trial must end: the first whose target is out of reach, or the last.
    must_stop = torch.where(reached_target.all(-1), n_looks - 1, (~reached_target).to(torch.int8).argmax(-1))
    comparisons = {name: _Comparison(plan, observables, name, len(arms)) for name, plan in analyses.items()}
    tables = {name: _Table(block.size, n_looks, plan) for name, plan in analyses.items()}
    monitored = [name for name, plan in analyses.items() if plan.looks]

    stop = torch.full((block.size,), n_looks - 1)
    rows = torch.arange(block.size)
    live = torch.ones(block.size, dtype=torch.bool)  # of `rows`; the others are stopped for futility but still followed
    for look in range(n_looks):
        if not len(rows):
            break
        final = must_stop[rows] == look
        decided = torch.full((len(rows),), bool(monitored))
        for name in monitored:
            if look in analyses[name].looks:
                estimates = comparisons[name].at(cuts[rows, look], rows)
                decided &= tables[name].decide(look, rows, live, estimates, final, comparisons[name], cuts)
            else:
                decided &= tables[name].closed[rows]
        ends = decided | final
        stop[rows[ends & live]] = look
        live = live & ~ends
        followed = live | (~final & _wanted(tables, rows))
        rows, live = rows[followed], live[followed]

    at_end = cuts.gather(-1, stop[:, None])[:, 0]
    every = torch.arange(block.size)
    for name, plan in analyses.items():
        if not plan.looks:
            tables[name].decide_at_end(stop, comparisons[name].at(at_end, every))
    return _record(block, observables, arms, tuple(looks), cuts, reached_target, stop, at_end, {name: table.record() for name, table in tables.items()})


def _wanted(tables: Mapping[str, _Table], rows: Int[Tensor, "row"]) -> Bool[Tensor, "row"]:
    """Replicates in which a futility rule has hidden whether efficacy would still have been shown."""
    wanted = torch.zeros(len(rows), dtype=torch.bool)
    for table in tables.values():
        if table.plan.ignore_futility:
            wanted |= table.only_futile[rows]
    return wanted


def _all_cuts(looks: Mapping[str, Look], conditions: Conditions, endpoint: str | None) -> tuple[Tensor, Tensor]:
    pairs = [cut_time(look, conditions, endpoint) for look in looks.values()]
    times = torch.stack([time for time, _ in pairs], dim=-1)
    return times.cummax(-1).values if times.shape[-1] > 1 else times, torch.stack([reached for _, reached in pairs], dim=-1)


class _Comparison:
    """Two arms of one endpoint, ready to be cut."""

    def __init__(self, plan: PlannedAnalysis, observables: Observables, name: str, n_arms: int):
        self.plan = plan
        arm = observables.enrolment.arm
        self.entry_time = observables.enrolment.entry_time
        other = None if n_arms == 2 else (arm != plan.test) & (arm != plan.reference)
        self.group = (arm if plan.test == 1 else arm ^ 1) if n_arms == 2 else (arm == plan.test).to(torch.int8)
        self.covariates = observables.covariates.get(name)
        self.stratum: Tensor | None = None
        self.n_strata = 1
        if name in observables.strata:
            self.stratum, self.n_strata = observables.strata[name]
        if plan.visit is None:
            follow_up = observables.events[plan.endpoint]
            if other is not None:
                follow_up = EventFollowUp(time=follow_up.time.masked_fill(other, -1.0), calendar_event=follow_up.calendar_event.masked_fill(other, torch.inf))
            self.events: EventFollowUp | None = follow_up
        else:
            seen = observables.values[plan.endpoint, plan.visit]
            self.events = None
            self.values = seen if other is None else ValueFollowUp(seen.value.masked_fill(other, torch.nan), seen.calendar_visit)

    def data(self, cut: Float[Tensor, "row"], rows: Int[Tensor, "row"]) -> EventData | ValueData:
        """The data of these replicates at these cuts."""
        everyone = len(rows) == len(self.group)

        def of(tensor: Tensor | None) -> Tensor | None:
            return tensor if tensor is None or everyone or tensor.shape[0] == 1 else tensor[rows]

        group, stratum, covariates = of(self.group), of(self.stratum), of(self.covariates)
        assert group is not None
        if self.events is not None:
            follow_up = self.events if everyone else EventFollowUp(self.events.time[rows], self.events.calendar_event[rows])
            entry = of(self.entry_time)
            assert entry is not None
            time, event = follow_up.at(cut, entry)
            return EventData(time=time, event=event, group=group, stratum=stratum, n_strata=self.n_strata, covariates=covariates)
        values = self.values if everyone else ValueFollowUp(self.values.value[rows], self.values.calendar_visit[rows])
        return ValueData(value=values.at(cut), group=group, stratum=stratum, n_strata=self.n_strata, covariates=covariates)

    def at(self, cut: Float[Tensor, "row"], rows: Int[Tensor, "row"]) -> Estimates:
        """The analysis of these replicates at these cuts."""
        return self.plan.method.estimate(self.data(cut, rows), favours=self.plan.favours)


class _Table:
    """What one analysis has found so far, filled look by look."""

    def __init__(self, n: int, n_looks: int, plan: PlannedAnalysis):
        def empty() -> Tensor:
            return torch.full((n, n_looks), torch.nan, dtype=torch.float64)

        def no() -> Tensor:
            return torch.zeros((n, n_looks), dtype=torch.bool)

        self.plan = plan
        self.z, self.efficacy_z, self.futility_z = empty(), empty(), empty()
        self.estimate, self.std_error, self.df = empty(), empty(), empty()
        self.n, self.n_events = torch.zeros((n, n_looks), dtype=torch.int64), torch.zeros((n, n_looks), dtype=torch.int64)
        self.information = torch.zeros((n, max(len(plan.looks), 1)), dtype=torch.int64)
        self.failure = torch.zeros((n, n_looks), dtype=torch.int8)
        self.reject, self.wrong, self.futile = no(), no(), no()
        self.closed = torch.zeros(n, dtype=torch.bool)
        self.only_futile = torch.zeros(n, dtype=torch.bool)
        self.ever = torch.zeros(n, dtype=torch.bool)
        self.has: set[str] = set()

    def decide(
        self,
        look: int,
        rows: Int[Tensor, "row"],
        live: Bool[Tensor, "row"],
        found: Estimates,
        final: Bool[Tensor, "row"],
        comparison: _Comparison,
        cuts: Tensor,
    ) -> Bool[Tensor, "row"]:
        """Compare with the bounds; true where this analysis is closed. Rows that are not live only count for `ever`."""
        own = self.plan.looks.index(look)
        z = normal_statistic(found)
        information = found.n if found.n_events is None else found.n_events
        self.information[rows, own] = information
        efficacy, futility = self.plan.monitoring.at(own, self.information[rows, : own + 1], final)
        reject = z >= efficacy
        wrong = (z <= -efficacy) if self.plan.monitoring.sides == 2 else torch.zeros_like(reject)
        # A look that ends the trial has no futility rule left to obey: what is not rejected is over.
        futile = (z < futility) & ~final & ~reject & ~wrong
        rule = self.plan.monitoring.futility
        limit = rule.hazard_ratio_above[own] if isinstance(rule, HazardRatioAbove) and own < len(rule.hazard_ratio_above) else None
        if limit is not None:
            # The Cox estimate lies above the limit exactly when the score there is positive.
            data = comparison.data(cuts[rows, look], rows)
            assert isinstance(data, EventData)
            futile = (score_at_log_hr(data, math.log(limit)) > 0) & ~final & ~reject & ~wrong
        self.ever[rows] |= reject
        still_open = live & ~self.closed[rows]
        self._write(look, rows, found, z, efficacy, futility, live)
        self.reject[rows, look] = reject & still_open
        self.wrong[rows, look] = wrong & still_open
        self.futile[rows, look] = futile & still_open
        self.only_futile[rows] |= futile & still_open
        self.closed[rows] |= reject | wrong | futile
        self.only_futile[rows] &= ~self.ever[rows]
        return self.closed[rows]

    def decide_at_end(self, stop: Tensor, found: Estimates) -> None:
        """The one decision of an analysis without looks, entered at the look where each trial stopped."""
        z = normal_statistic(found)
        bound = self.plan.monitoring.at_end_only()
        rows = torch.arange(len(stop))
        self._write(stop, rows, found, z, torch.full_like(z, bound), torch.full_like(z, torch.nan))
        self.reject[rows, stop] = z >= bound
        if self.plan.monitoring.sides == 2:
            self.wrong[rows, stop] = z <= -bound

    def _write(self, look: int | Tensor, rows: Tensor, found: Estimates, z: Tensor, efficacy: Tensor, futility: Tensor, live: Tensor | None = None) -> None:
        keep = None if live is None or bool(live.all()) else live
        at = rows if keep is None else rows[keep]
        for name, value in (
            ("z", z),
            ("efficacy_z", efficacy),
            ("futility_z", futility),
            ("n", found.n),
            ("failure", found.failure),
            ("estimate", found.estimate),
            ("std_error", found.std_error),
            ("df", found.df),
            ("n_events", found.n_events),
        ):
            if value is not None:
                self.has.add(name)
                column = getattr(self, name)
                column[at, look] = (value if keep is None else value[keep]).to(column.dtype)

    def record(self) -> AnalysisRecord:
        def kept(name: str) -> Tensor | None:
            return getattr(self, name) if name in self.has else None

        return AnalysisRecord(
            z=self.z,
            estimate=kept("estimate"),
            std_error=kept("std_error"),
            df=kept("df"),
            n=self.n,
            n_events=kept("n_events"),
            efficacy_z=self.efficacy_z,
            futility_z=self.futility_z,
            reject=self.reject,
            reject_wrong_direction=self.wrong,
            futile=self.futile,
            ignoring_futility=self.ever if self.plan.ignore_futility else None,
            failure=self.failure,
        )


def _record(
    block: Block,
    observables: Observables,
    arms: Sequence[str],
    looks: tuple[str, ...],
    cuts: Tensor,
    reached_target: Tensor,
    stop: Tensor,
    at_end: Tensor,
    analyses: Mapping[str, AnalysisRecord],
) -> TrialRecord:
    n_looks = len(looks)
    reached = torch.arange(n_looks) <= stop[:, None]
    entry, arm = observables.enrolment.entry_time, observables.enrolment.arm
    n_patients = arm.shape[-1]
    enrolled = torch.stack([n_enrolled(entry, cuts[:, look]) for look in range(n_looks)], dim=-1)
    n_events = {}
    for endpoint, follow_up in observables.events.items():
        columns = [count_last(at_most(follow_up.calendar_event, cuts[:, look, None])) for look in range(n_looks)]
        n_events[endpoint] = torch.stack(columns, dim=-1) * reached
    at_stop = enrolled.gather(-1, stop[:, None])
    there = None if bool((at_stop == n_patients).all()) else torch.arange(n_patients) < at_stop
    per_arm = {name: count_last((arm == index) if there is None else (arm == index) & there) for index, name in enumerate(arms)}
    return TrialRecord(
        block=block,
        looks=looks,
        cut_time=torch.where(reached, cuts, torch.nan),
        n_enrolled=enrolled * reached,
        reached=reached,
        stop_look=stop + 1,
        target_not_reached=(~reached_target & reached).any(-1),
        n_events=n_events,
        n_per_arm=per_arm,
        analyses=dict(analyses),
    )
