"""Data cuts: the calendar time at which a look's condition holds, in every replicate; on the CPU, wherever patients are.

A condition that can never hold (more events demanded than happen) is met by fallback when no patient is left at risk of
it; `not_after` ends every wait. Both are reported as not reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.conduct.follow_up import EventFollowUp, ValueFollowUp
from trialsim.conduct.looks import (
    AfterLastPatientInTrigger,
    AllTrigger,
    AnyTrigger,
    CalendarTrigger,
    CompletersTrigger,
    EnrolledTrigger,
    EventsTrigger,
    Look,
    Trigger,
)
from trialsim.tensors import kth_smallest


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the triggers of a block of trials can refer to.

    `entry_time` as in Enrolment. `events` by time-to-event endpoint; `visits` gives, by visit, the calendar time at which
    each patient completes it (infinite: never).
    """

    entry_time: Float[Tensor, "replicate_or_1 patient"]
    events: Mapping[str, EventFollowUp]
    visits: Mapping[str, Float[Tensor, "replicate patient"]]
    n_replicates: int


Cut = tuple[Float[Tensor, "replicate"], Bool[Tensor, "replicate"]]


def cut_time(look: Look, conditions: Conditions, default_endpoint: str | None) -> Cut:
    """The calendar time of the look, and whether its target was reached."""
    time, reached = _when(look.when, conditions, default_endpoint)
    if look.not_after is not None:
        reached = reached & (time <= look.not_after)
        time = time.clamp(max=look.not_after)
    return time, reached


def _when(trigger: Trigger, conditions: Conditions, default_endpoint: str | None) -> Cut:
    if isinstance(trigger, EventsTrigger):
        follow_up = conditions.events[trigger.endpoint or default_endpoint or next(iter(conditions.events))]
        return _kth(follow_up.calendar_event, trigger.events, lambda rows: _last_at_risk(follow_up, conditions.entry_time, rows))
    if isinstance(trigger, CompletersTrigger):
        visit = conditions.visits[trigger.at_visit]
        return _kth(visit, trigger.completers, lambda rows: _last_finite(visit[rows]))
    if isinstance(trigger, AllTrigger | AnyTrigger):
        every = isinstance(trigger, AllTrigger)
        cuts = [_when(part, conditions, default_endpoint) for part in (trigger.all if isinstance(trigger, AllTrigger) else trigger.any)]
        times, reached = torch.stack([time for time, _ in cuts]), torch.stack([ok for _, ok in cuts])
        if every:
            return times.amax(0), reached.all(0)
        some = reached.any(0)
        return torch.where(some, times.masked_fill(~reached, torch.inf).amin(0), times.amax(0)), some
    if isinstance(trigger, EnrolledTrigger):
        time = conditions.entry_time[:, trigger.enrolled - 1].cpu()
    elif isinstance(trigger, AfterLastPatientInTrigger):
        time = conditions.entry_time[:, -1].cpu() + trigger.after_last_patient_in
    else:
        assert isinstance(trigger, CalendarTrigger)
        time = torch.tensor([trigger.calendar], dtype=torch.float64)
    return time.expand(conditions.n_replicates), torch.ones(conditions.n_replicates, dtype=torch.bool)


def _kth(times: Float[Tensor, "replicate patient"], k: int, fallback: object) -> Cut:
    time = kth_smallest(times, k).cpu()
    reached = time.isfinite()
    if not reached.all():
        rows = (~reached).nonzero()[:, 0]
        time = time.clone()
        time[rows] = fallback(rows.to(times.device)).cpu()  # type: ignore[operator]
    return time, reached


def _last_at_risk(follow_up: EventFollowUp, entry_time: Float[Tensor, "replicate_or_1 patient"], rows: Tensor) -> Float[Tensor, "row"]:
    """When the last patient of each row has had the event or has dropped out."""
    entry = entry_time if entry_time.shape[0] == 1 else entry_time[rows]
    return _last_finite(entry + follow_up.time[rows])


def _last_finite(times: Float[Tensor, "row patient"]) -> Float[Tensor, "row"]:
    last = times.masked_fill(times.isinf(), -torch.inf).amax(-1)
    return last.clamp(min=0.0)


def visit_completion(values: Mapping[tuple[str, str], ValueFollowUp]) -> dict[str, Tensor]:
    """By visit, when each patient has completed it for every endpoint measured there."""
    completed: dict[str, Tensor] = {}
    for (_, visit), follow_up in values.items():
        completed[visit] = torch.maximum(completed[visit], follow_up.calendar_visit) if visit in completed else follow_up.calendar_visit
    return completed
