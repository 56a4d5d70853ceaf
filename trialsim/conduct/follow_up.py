"""What a trial can see of its twins: observed times under dropout, and the data of an endpoint at a cut.

Patient time 0 is randomisation, calendar time 0 the opening of accrual. An event and a dropout at the same time: the
event counts. An event is in the cut when `entry + time <= cut`, the same floating-point sum that defines the cut;
patients randomised after the cut are not in the analysis (negative follow-up).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.tensors import at_most
from trialsim.twins.recurrence import Course

EVENT_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class EventFollowUp:
    """One time-to-event endpoint of a block, before any cut.

    `time` is the time of event or dropout since randomisation; `calendar_event` the calendar time of the event, infinite
    for a patient who is censored first.
    """

    time: Float[Tensor, "replicate patient"]
    calendar_event: Float[Tensor, "replicate patient"]

    def at(
        self, cut: Float[Tensor, "replicate"], entry_time: Float[Tensor, "replicate_or_1 patient"]
    ) -> tuple[Float[Tensor, "replicate patient"], Bool[Tensor, "replicate patient"]]:
        """Follow-up time (negative: not yet randomised) and whether the event is in the cut."""
        seen = cut[:, None] - entry_time
        torch.minimum(seen, self.time, out=seen)
        return seen, at_most(self.calendar_event, cut[:, None])


def follow(
    event_time: Float[Tensor, "replicate patient"], dropout_time: Float[Tensor, "replicate patient"] | None, entry_time: Float[Tensor, "replicate_or_1 patient"]
) -> EventFollowUp:
    """Follow every patient to event or dropout. An event time of infinity never happens."""
    if dropout_time is None:
        return EventFollowUp(time=event_time, calendar_event=entry_time + event_time)
    time = torch.minimum(event_time, dropout_time)
    calendar = entry_time + time
    # x / 1 is x and x / 0 is infinity: cheaper than a select on a random mask.
    calendar.div_(at_most(event_time, dropout_time).view(torch.int8))
    return EventFollowUp(time=time, calendar_event=calendar)


@dataclass(frozen=True, slots=True)
class ValueFollowUp:
    """One single-valued endpoint of a block: the value at a visit and the calendar time at which it is seen (inf: never)."""

    value: Float[Tensor, "replicate patient"]
    calendar_visit: Float[Tensor, "replicate patient"]

    def at(self, cut: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate patient"]:
        """The values seen by the cut; NaN where not."""
        if self.calendar_visit.stride(0) == 0 and bool((cut >= self.calendar_visit[0].amax()).all()):
            return self.value  # the same visits in every replicate, all of them made
        return torch.where(self.calendar_visit <= cut[:, None], self.value, torch.nan)


def follow_to_visit(
    value: Float[Tensor, "replicate patient"],
    visit: float,
    dropout_time: Float[Tensor, "replicate patient"] | None,
    entry_time: Float[Tensor, "replicate_or_1 patient"],
) -> ValueFollowUp:
    """The value at `visit` days, seen unless the patient dropped out before."""
    calendar = (entry_time + visit).expand(value.shape)
    if dropout_time is not None:
        calendar = torch.where(dropout_time < visit, torch.inf, calendar)
    return ValueFollowUp(value=value, calendar_visit=calendar)


@dataclass(frozen=True, slots=True)
class CauseFollowUp:
    """Which of several outcomes came first, by calendar time: the one of interest, or another; infinite where it did not, or not first."""

    calendar_event: Float[Tensor, "replicate patient"]
    calendar_competing: Float[Tensor, "replicate patient"]


def first_cause(times: Sequence[Float[Tensor, "replicate patient"]], cause: int, follow_up: EventFollowUp) -> CauseFollowUp:
    """Split the follow-up to the first of `times` by whether the first is number `cause`. At equal times the earlier in the list is first."""
    own = times[cause]
    first = torch.ones_like(own, dtype=torch.bool)
    for index, other in enumerate(times):
        if index != cause:
            first &= (own <= other) if index > cause else (own < other)
    return CauseFollowUp(follow_up.calendar_event.masked_fill(~first, torch.inf), follow_up.calendar_event.masked_fill(first, torch.inf))


@dataclass(frozen=True, slots=True)
class CountFollowUp:
    """Events that come again, before any cut: counted until `limit` days (None: for ever), loss to follow-up, or the cut.

    `missing` marks patients whose count is never known. Later events are drawn when a cut asks for them.
    """

    course: Course
    limit: float | None = None
    dropout_time: Float[Tensor, "replicate patient"] | None = None
    missing: Bool[Tensor, "replicate patient"] | None = None

    def followed(
        self, cut: Float[Tensor, "row"], entry_time: Float[Tensor, "row_or_1 patient"], rows: Int[Tensor, "row"] | None
    ) -> Float[Tensor, "row patient"]:
        """Days each patient has been followed by the cut; negative: not yet randomised, or not known."""
        seen = cut[:, None] - entry_time
        end = seen if self.limit is None else seen.clamp(max=self.limit)
        if self.dropout_time is not None:
            end = torch.minimum(end, self.dropout_time if rows is None else self.dropout_time[rows])
        return end if self.missing is None else end.masked_fill(self.missing if rows is None else self.missing[rows], -1.0)

    def events(self, followed: Float[Tensor, "row patient"], rows: Int[Tensor, "row"] | None) -> Float[Tensor, "row patient event"]:
        """The times of the events within follow-up, infinite where there are no more. The number of columns is a multiple of EVENT_COLUMNS."""
        times = self.course.within(followed, rows)
        never = torch.full_like(followed, torch.inf)
        times += [never] * (-len(times) % EVENT_COLUMNS if times else EVENT_COLUMNS)
        return torch.stack(times, dim=-1)


def n_enrolled(entry_time: Float[Tensor, "replicate_or_1 patient"], cut: Float[Tensor, "replicate"]) -> Int[Tensor, "replicate"]:
    """How many patients were randomised by the cut."""
    if entry_time.shape[0] == 1:
        return torch.searchsorted(entry_time[0].contiguous(), cut.contiguous(), right=True)
    return torch.searchsorted(entry_time, cut[:, None].contiguous(), right=True)[:, 0]
