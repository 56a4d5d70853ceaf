"""The arms of an analysis and what is seen of them, ready to be cut into the record that its method takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis import Analysis
from trialsim.analysis.analysis import EndpointType
from trialsim.conduct.follow_up import CauseFollowUp, CountFollowUp, EventFollowUp, ValueFollowUp
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.records import AnalysisData, Cohort, Enrolment, EventData, HierarchyData, Noise, RecurrentData, ValueData, VisitData
from trialsim.tensors import at_most


@dataclass(frozen=True, slots=True)
class Tier:
    """One endpoint of a hierarchy: its visit (None: an event time, or a count without one), +1 where a longer time or larger value wins, and by how much."""

    endpoint: str
    visit: str | None
    favours: int
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """One comparison of two arms (indices in protocol order), compiled; `others` are the further test arms where the method's model spans all arms.

    `favours` is +1 when a larger estimate favours the test arm. `looks` are indices into the trial's looks; empty for an
    analysis made once, where the trial ends. `visit` is set for single-valued endpoints. `ignore_futility`: also find out
    whether efficacy would have been declared without the (non-binding) futility rule. `visits` are those of the endpoint,
    in order of time, and `day` is when `visit` is; `tiers` the endpoints of a hierarchy; `cause` the outcome of interest where others compete.
    `kind` is the endpoint's type; `is_event`: it is a time to event, so information counts events; else patients. `summary` is
    the summary measure of the analysis's estimand, where it names one. `analysis` is the analysis that makes this comparison
    (None: named as the comparison), `arm` its test arm where it compares several (`pooled`). Information is counted over the arms
    `informing` (empty: the two compared): those of the trial where looks wait for a total, which all arms fill, else those of the analysis.
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
    others: tuple[int, ...] = ()
    visits: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    day: float = 0.0
    cause: str | None = None
    is_event: bool = True
    kind: EndpointType = "time_to_event"
    summary: str | None = None
    analysis: str | None = None
    arm: str | None = None
    pooled: tuple[int, ...] = ()
    informing: tuple[int, ...] = ()

    @property
    def spans_arms(self) -> bool:
        """Whether it is one test over several test arms (a trend, a contrast)."""
        return bool(self.pooled) and self.arm is None


@dataclass(frozen=True, slots=True)
class Observables:
    """Everything a block of trials can reveal. Covariates and strata are by analysis.

    `counts` are the endpoints whose events come again, by (endpoint, visit), visit None for all of follow-up; `causes` those of
    several outcomes, by (endpoint, outcome of interest); `starts` the value at baseline of a continuous endpoint that has one; `noise` is what an analysis imputes with.

    Analyses do not need the last three: `cohort` is the patients' baseline, `dropout_time` days from randomisation to loss
    to follow-up (None: nobody is lost), `baselines` the value at baseline of each endpoint that is a change from it.
    """

    enrolment: Enrolment
    events: Mapping[str, EventFollowUp]
    values: Mapping[tuple[str, str], ValueFollowUp]
    covariates: Mapping[str, Float[Tensor, "replicate patient covariate"]]
    strata: Mapping[str, tuple[Int[Tensor, "replicate patient"], int]]
    counts: Mapping[tuple[str, str | None], CountFollowUp] = field(default_factory=dict)
    causes: Mapping[tuple[str, str], CauseFollowUp] = field(default_factory=dict)
    starts: Mapping[str, Float[Tensor, "replicate patient"]] = field(default_factory=dict)
    noise: Mapping[str, Noise] = field(default_factory=dict)
    cohort: Cohort = field(default_factory=lambda: Cohort(columns={}))
    dropout_time: Float[Tensor, "replicate patient"] | None = None
    baselines: Mapping[str, Float[Tensor, "replicate patient"]] = field(default_factory=dict)


class Comparison:
    """The arms of one analysis, ready to be cut."""

    def __init__(self, plan: PlannedAnalysis, observables: Observables, name: str, n_arms: int):
        self.plan, self.observables, self.name = plan, observables, plan.analysis or name
        arm = observables.enrolment.arm
        self.entry_time = observables.enrolment.entry_time
        self.n_groups = 2 + len(plan.others)
        if n_arms == 2:
            self.other: Tensor | None = None
            self.group = arm if plan.test == 1 else arm ^ 1
        else:
            self.group = (arm == plan.test).to(torch.int8)
            compared = (arm == plan.test) | (arm == plan.reference)
            for group, further in enumerate(plan.others, start=2):
                self.group += (arm == further).to(torch.int8) * group
                compared |= arm == further
            self.other = None if self.n_groups == n_arms else ~compared
        question = plan.analysis or name
        self.covariates = observables.covariates.get(question)
        self.stratum: Tensor | None = None
        self.n_strata = 1
        if question in observables.strata:
            self.stratum, self.n_strata = observables.strata[question]
        # Missing values are imputed for those who should have reached the visit.
        self.due = self.entry_time + plan.day
        self.takes = plan.method.record
        self.events = self._events(plan.endpoint, plan.cause) if self.takes is EventData else None
        self.values = self._values(plan.endpoint, plan.visit) if self.takes is ValueData and (plan.endpoint, plan.visit) not in observables.counts else None

    def data(self, cut: Float[Tensor, "row"], rows: Int[Tensor, "row"]) -> AnalysisData:
        """The data of these replicates at these cuts, where the patients are."""
        cut, rows = cut.to(self.group.device), rows.to(self.group.device)
        chosen = None if len(rows) == len(self.group) else rows
        if self.events is not None:
            return self._event_data(self.events, cut, chosen)
        if self.values is not None:
            return ValueData(value=self._seen(self.values, cut, chosen), **self._patients(chosen))
        if self.takes is ValueData:
            return self._count_data(self.plan.endpoint, self.plan.visit, cut, chosen)
        if self.takes is VisitData:
            return self._visit_data(cut, chosen)
        if self.takes is RecurrentData:
            return self._recurrent_data(cut, chosen)
        return self._hierarchy_data(cut, chosen)

    def pooled_information(self, cut: Float[Tensor, "row"], rows: Int[Tensor, "row"], as_planned: Bool[Tensor, "row"]) -> Int[Tensor, "row"] | None:
        """Events, or patients with a value, so far in all arms that inform the looks.

        None where these are the two compared, and where the information of all looks is the planned one.
        """
        plan = self.plan
        if not plan.informing or (bool(as_planned.all()) and not plan.monitoring.by_calendar):
            return None
        cut, rows = cut.to(self.group.device), rows.to(self.group.device)
        arm = self.observables.enrolment.arm[rows]
        there = torch.zeros_like(arm, dtype=torch.bool)
        for index in plan.informing:
            there |= arm == index
        if plan.endpoint in self.observables.events:
            there &= at_most(self.observables.events[plan.endpoint].calendar_event[rows], cut[:, None])
        elif (plan.endpoint, plan.visit) in self.observables.values:
            assert plan.visit is not None
            there &= ~self._seen(self.observables.values[plan.endpoint, plan.visit], cut, rows).isnan()
        else:
            entry = _of(self.entry_time, rows)
            assert entry is not None
            there &= at_most(entry.expand(there.shape), cut[:, None])
        return there.sum(-1).cpu()

    def _patients(self, rows: Tensor | None) -> dict[str, Any]:
        """The fields that all records have."""
        return {
            "group": _of(self.group, rows),
            "stratum": _of(self.stratum, rows),
            "n_strata": self.n_strata,
            "covariates": _of(self.covariates, rows),
            "n_groups": self.n_groups,
        }

    # Times to event -----------------------------------------------------------------------------------------------------

    def _events(self, endpoint: str, cause: str | None) -> tuple[EventFollowUp, CauseFollowUp | None]:
        """The follow-up of an endpoint, and of its cause of interest; arms that are not compared are not in the analysis."""
        found, split = self.observables.events[endpoint], None if cause is None else self.observables.causes.get((endpoint, cause))
        if self.other is None:
            return found, split
        found = EventFollowUp(time=found.time.masked_fill(self.other, -1.0), calendar_event=found.calendar_event.masked_fill(self.other, torch.inf))
        if split is not None:
            split = CauseFollowUp(*(each.masked_fill(self.other, torch.inf) for each in (split.calendar_event, split.calendar_competing)))
        return found, split

    def _event_data(self, events: tuple[EventFollowUp, CauseFollowUp | None], cut: Tensor, rows: Tensor | None) -> EventData:
        follow_up, split = events
        entry = _of(self.entry_time, rows)
        assert entry is not None
        if rows is not None:
            follow_up = EventFollowUp(follow_up.time[rows], follow_up.calendar_event[rows])
        time, event = follow_up.at(cut, entry)
        competing = None
        if split is not None:
            event, competing = (at_most(each if rows is None else each[rows], cut[:, None]) for each in (split.calendar_event, split.calendar_competing))
        return EventData(time=time, event=event, competing=competing, **self._patients(rows))

    # Values -------------------------------------------------------------------------------------------------------------

    def _values(self, endpoint: str, visit: str | None) -> ValueFollowUp:
        assert visit is not None
        seen = self.observables.values[endpoint, visit]
        return seen if self.other is None else ValueFollowUp(seen.value.masked_fill(self.other, torch.nan), seen.calendar_visit)

    @staticmethod
    def _seen(values: ValueFollowUp, cut: Tensor, rows: Tensor | None) -> Float[Tensor, "row patient"]:
        return (values if rows is None else ValueFollowUp(values.value[rows], values.calendar_visit[rows])).at(cut)

    def _count_data(self, endpoint: str, visit: str | None, cut: Tensor, rows: Tensor | None) -> ValueData:
        """A count so far, with the days it was observed; patients with no follow-up yet are not in the analysis."""
        follow_up, entry = self.observables.counts[endpoint, visit], _of(self.entry_time, rows)
        assert entry is not None
        followed = self._compared(follow_up.followed(cut, entry, rows), rows)
        seen = followed > 0
        count = follow_up.course.count(followed, rows).masked_fill(~seen, torch.nan)
        return ValueData(value=count, exposure=followed.masked_fill(~seen, 1.0), **self._patients(rows))

    def _visit_data(self, cut: Tensor, rows: Tensor | None) -> VisitData:
        plan, start = self.plan, self.observables.starts.get(self.plan.endpoint)
        columns = [self._seen(self._values(plan.endpoint, visit), cut, rows) for visit in plan.visits]
        if start is not None:
            entry = _of(self.entry_time, rows)
            assert entry is not None
            start = _of(start.expand(self.group.shape), rows)
            assert start is not None
            start = self._compared(torch.where(entry <= cut[:, None], start, torch.nan), rows, mark=torch.nan)
        at = plan.visits.index(plan.visit) if plan.visit in plan.visits else len(plan.visits) - 1
        value, noise = torch.stack(columns, dim=-1), self.observables.noise.get(self.name)
        if noise is None:
            return VisitData(value=value, at=at, baseline=start, **self._patients(rows))
        included = at_most(self.due if rows is None or len(self.due) == 1 else self.due[rows], cut[:, None]).expand(value.shape[:2])
        if self.other is not None:
            included = included & ~(self.other if rows is None else self.other[rows])
        noise = noise if rows is None else noise.of(rows)
        return VisitData(value=value, at=at, baseline=start, included=included, noise=noise, **self._patients(rows))

    # Events that come again, hierarchies --------------------------------------------------------------------------------

    def _recurrent_data(self, cut: Tensor, rows: Tensor | None) -> RecurrentData:
        follow_up, entry = self.observables.counts[self.plan.endpoint, self.plan.visit], _of(self.entry_time, rows)
        assert entry is not None
        followed = self._compared(follow_up.followed(cut, entry, rows), rows)
        return RecurrentData(time=follow_up.events(followed, rows), follow_up=followed, **self._patients(rows))

    def _hierarchy_data(self, cut: Tensor, rows: Tensor | None) -> HierarchyData:
        parts: list[EventData | ValueData] = []
        for tier in self.plan.tiers:
            if tier.endpoint in self.observables.events:
                parts.append(self._event_data(self._events(tier.endpoint, None), cut, rows))
            elif (tier.endpoint, tier.visit) in self.observables.counts:
                parts.append(self._count_data(tier.endpoint, tier.visit, cut, rows))
            else:
                parts.append(ValueData(value=self._seen(self._values(tier.endpoint, tier.visit), cut, rows), **self._patients(rows)))
        return HierarchyData(tuple(parts), tuple(tier.favours for tier in self.plan.tiers), tuple(tier.threshold for tier in self.plan.tiers))

    def _compared(self, times: Tensor, rows: Tensor | None, mark: float = -1.0) -> Tensor:
        """The times, marked in arms that are not compared."""
        return times if self.other is None else times.masked_fill(self.other if rows is None else self.other[rows], mark)


def _of(tensor: Tensor | None, rows: Tensor | None) -> Tensor | None:
    return tensor if tensor is None or rows is None or tensor.shape[0] == 1 else tensor[rows]
