"""Who is at risk at each of many recurrent events, and which events each patient was at risk for, by sorting once.

A patient stays at risk after an event, until the end of follow-up: at a time t the risk set is everyone of the stratum with
follow_up >= t. Events of all patients are sorted by time, so that sums over risk sets, and over the events a patient was at
risk for, are differences of running sums. Sums over events are running sums too: they do not depend on how many empty places
follow the last event. Efron's method takes the share l/d of the tied patients' own weight from the l-th of d tied events.

**Source:** Andersen & Gill 1982 (doi 10.1214/aos/1176345976); Efron 1977 (doi 10.1080/01621459.1977.10480613).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.records import RecurrentData
from trialsim.tensors import argsort_last

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True, slots=True)
class RecurrentTimes:
    """The sorted layout of a block. `event` is 1.0 at places that hold an event (earliest first, strata apart) and 0.0 at the empty rest.

    `entered` and `closed` point into running sums over patients by rising follow-up: an event's risk set lies between them. `seen_to` and
    `seen_from` point into running sums over events. `place` is where each event of each patient went. `first`, `last` and `share` describe
    ties (None: no ties, or Breslow's method for `share`).
    """

    order: Int[Tensor, "replicate patient"]
    event: Float[Tensor, "replicate place"]
    owner: Int[Tensor, "replicate place"]
    entered: Int[Tensor, "replicate place"]
    closed: Int[Tensor, "replicate place"]
    seen_from: Int[Tensor, "replicate patient"]
    seen_to: Int[Tensor, "replicate patient"]
    place: Int[Tensor, "replicate patient event"]
    first: Int[Tensor, "replicate place"] | None
    last: Int[Tensor, "replicate place"] | None
    share: Float[Tensor, "replicate place"] | None

    def at_risk(self, weight: Float[Tensor, "*more replicate patient"]) -> Float[Tensor, "*more replicate place"]:
        """At each event, the sum of a weight over its risk set, corrected for ties."""
        running = _from_zero(weight.gather(-1, self.order.expand(weight.shape)))
        total = _take(running, self.closed) - _take(running, self.entered)
        if self.share is None:
            return total
        return total - self.share * self._of_ties(_take(weight, self.owner) * self.event)

    def accumulated(self, increment: Float[Tensor, "*more replicate place"]) -> Float[Tensor, "*more replicate patient"]:
        """For each patient, the sum of the increments of the events the patient was at risk for: the transpose of `at_risk`."""
        running = _from_zero(increment)
        seen = _take(running, self.seen_to) - _take(running, self.seen_from)
        if self.share is None:
            return seen
        return seen - self.own(self._of_ties(self.share * increment))

    def own(self, value: Float[Tensor, "*more replicate place"]) -> Float[Tensor, "*more replicate patient"]:
        """For each patient, the sum of a value over the patient's own events."""
        padded = torch.cat([value, torch.zeros_like(value[..., :1])], dim=-1)
        flat = _take(padded, self.place.flatten(-2))
        return flat.unflatten(-1, self.place.shape[-2:]).cumsum(-1)[..., -1]

    def tied_mean(self, value: Float[Tensor, "*more replicate place"]) -> Float[Tensor, "*more replicate place"]:
        """At each event, the mean of a value over the events tied with it."""
        if self.first is None or self.last is None:
            return value
        return self._of_ties(value) / (self.last - self.first + 1)

    def rows(self, which: Bool[Tensor, "replicate"]) -> RecurrentTimes:
        """Some replicates."""
        return RecurrentTimes(*(None if (field := getattr(self, name)) is None else field[which] for name in self.__slots__))

    def _of_ties(self, value: Tensor) -> Tensor:
        """At each event, the sum of a value over the events tied with it."""
        assert self.first is not None
        assert self.last is not None
        running = _from_zero(value)
        # A lone event keeps its value to the last bit, whether or not others of the block are tied.
        return torch.where(self.last > self.first, _take(running, self.last + 1) - _take(running, self.first), value)


def total(value: Float[Tensor, "*more replicate place"]) -> Float[Tensor, "*more replicate"]:
    """The sum over events, in their order."""
    return value.cumsum(-1)[..., -1]


def recurrent_times(data: RecurrentData, there: Bool[Tensor, "replicate patient"], *, ties: Ties = "efron") -> RecurrentTimes:
    """The layout of the patients who are there. All finite event times of a patient must lie within follow-up."""
    time = torch.where(there[..., None], data.time, torch.inf)
    if time.shape[-1] == 0:
        time = torch.full_like(data.follow_up, torch.inf)[..., None]
    _, n, per_patient = time.shape
    time = time.flatten(-2)
    happened = torch.isfinite(time)
    follow_up = torch.where(there, data.follow_up, torch.inf)
    rank, span = _ranks(torch.cat([follow_up, time], dim=-1))
    low = torch.zeros_like(rank[:, :n]) if data.stratum is None or data.n_strata == 1 else data.stratum.to(torch.int64) * span
    beyond = max(1, data.n_strata) * span
    patient_key = torch.where(there, low + rank[:, :n], beyond)
    event_key = torch.where(happened, low.repeat_interleave(per_patient, dim=-1) + rank[:, n:], beyond)
    width = max(1, int(happened.sum(-1).max()))
    order, by_time = argsort_last(patient_key), argsort_last(event_key)
    place = torch.empty_like(by_time).scatter_(-1, by_time, torch.arange(by_time.shape[-1], device=time.device).expand_as(by_time))
    place = place.clamp(max=width).unflatten(-1, (n, per_patient))
    by_time = by_time[:, :width]
    event_key = event_key.gather(-1, by_time)
    event = happened.gather(-1, by_time).to(torch.float64)
    owner = by_time // per_patient
    sorted_patients = patient_key.gather(-1, order)
    event_low = low.gather(-1, owner)
    first = last = share = None
    same = (event_key[:, 1:] == event_key[:, :-1]) & (event[:, 1:] > 0)
    if same.any():
        first, last = _runs(same)
        if ties == "efron":
            share = (torch.arange(width, device=time.device) - first) / (last - first + 1).to(torch.float64) * event
    return RecurrentTimes(
        order=order,
        event=event,
        owner=owner,
        entered=torch.searchsorted(sorted_patients, event_key),
        closed=torch.searchsorted(sorted_patients, torch.where(event > 0, event_low + span, event_key)),
        seen_from=torch.searchsorted(event_key, low),
        seen_to=torch.searchsorted(event_key, torch.where(there, patient_key, low - 1), right=True).clamp(max=width),
        place=place,
        first=first,
        last=last,
        share=share,
    )


def _ranks(values: Float[Tensor, "replicate value"]) -> tuple[Int[Tensor, "replicate value"], int]:
    """Dense ranks of each row (equal values share one), from 0; and a number above all ranks."""
    order = argsort_last(values)
    ordered = values.gather(-1, order)
    step = torch.zeros_like(order)
    step[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(order).scatter_(-1, order, step.cumsum(-1)), values.shape[-1] + 1


def _from_zero(value: Tensor) -> Tensor:
    """Running sums with a leading 0."""
    return torch.cat([torch.zeros_like(value[..., :1]), value.cumsum(-1)], dim=-1)


def _take(values: Tensor, index: Int[Tensor, "replicate k"]) -> Tensor:
    return values.gather(-1, index.expand(*values.shape[:-1], index.shape[-1]))


def _runs(same: Bool[Tensor, "replicate step"]) -> tuple[Tensor, Tensor]:
    """First and last place of the run of equal times each place is in."""
    n = same.shape[-1] + 1
    rank = torch.arange(n, device=same.device)
    edge = torch.zeros((len(same), 1), dtype=torch.bool, device=same.device)
    first = torch.where(~torch.cat([edge, same], dim=-1), rank, 0).cummax(-1).values
    last = torch.where(~torch.cat([same, edge], dim=-1), rank, n).flip(-1).cummin(-1).values.flip(-1)
    return first, last
