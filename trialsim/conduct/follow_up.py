"""What a trial can see of its twins: observed times under dropout, and the data of an endpoint at a cut.

Patient time 0 is randomisation, calendar time 0 the opening of accrual. An event and a dropout at the same time: the
event counts. An event is in the cut when `entry + time <= cut`, the same floating-point sum that defines the cut;
patients randomised after the cut are not in the analysis (negative follow-up).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.tensors import at_most


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


def n_enrolled(entry_time: Float[Tensor, "replicate_or_1 patient"], cut: Float[Tensor, "replicate"]) -> Int[Tensor, "replicate"]:
    """How many patients were randomised by the cut."""
    if entry_time.shape[0] == 1:
        return torch.searchsorted(entry_time[0].contiguous(), cut.contiguous(), right=True)
    return torch.searchsorted(entry_time, cut[:, None].contiguous(), right=True)[:, 0]
