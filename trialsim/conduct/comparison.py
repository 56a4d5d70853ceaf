"""Two arms of one endpoint, ready to be cut: what an analysis is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.analysis import Analysis
from trialsim.conduct.follow_up import EventFollowUp, ValueFollowUp
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.records import Cohort, Enrolment, EventData, ValueData


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
    """Everything a block of trials can reveal. Covariates and strata are by analysis.

    Analyses do not need the last three: `cohort` is the patients' baseline, `dropout_time` days from randomisation to loss
    to follow-up (None: nobody is lost), `baselines` the value at baseline of each endpoint that is a change from it.
    """

    enrolment: Enrolment
    events: Mapping[str, EventFollowUp]
    values: Mapping[tuple[str, str], ValueFollowUp]
    covariates: Mapping[str, Float[Tensor, "replicate patient covariate"]]
    strata: Mapping[str, tuple[Int[Tensor, "replicate patient"], int]]
    cohort: Cohort = field(default_factory=lambda: Cohort(columns={}))
    dropout_time: Float[Tensor, "replicate patient"] | None = None
    baselines: Mapping[str, Float[Tensor, "replicate patient"]] = field(default_factory=dict)


class Comparison:
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
