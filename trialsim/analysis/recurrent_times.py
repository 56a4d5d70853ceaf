"""Who is at risk at each of many recurrent events, and which events each patient was at risk for, by sorting once.

A patient stays at risk after an event, until the end of follow-up: at a time t the risk set is everyone of the stratum with
follow_up >= t. Events of all patients are sorted by time, so that sums over risk sets, and over the events a patient was at
risk for, are differences of running sums. Sums over events are running sums too: they do not depend on how many empty places
follow the last event. Efron's method takes the share l/d of the tied patients' own weight from the l-th of d tied events.

**Source:** Andersen & Gill 1982 (doi 10.1214/aos/1176345976); Efron 1977 (doi 10.1080/01621459.1977.10480613).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.tied_ranks import runs
from trialsim.records import RecurrentData
from trialsim.tensors import argsort_last

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True, slots=True)
class RecurrentTimes:
    """The sorted layout of a block. `event` is 1.0 at places that hold an event (earliest first, strata apart) and 0.0 at the empty rest.

    `entered` and `closed` point into running sums over patients by rising follow-up: an event's risk set lies between them. `seen_to` and
    `seen_from` point into running sums over events. `place` is where each event went, patient by patient, whose own end before `own_to`.
    `first`, `last` and `share` describe ties (None: no ties, or Breslow's method for `share`).
    """

    order: Int[Tensor, "replicate patient"]
    event: Float[Tensor, "replicate place"]
    owner: Int[Tensor, "replicate place"]
    entered: Int[Tensor, "replicate place"]
    closed: Int[Tensor, "replicate place"]
    seen_from: Int[Tensor, "replicate patient"]
    seen_to: Int[Tensor, "replicate patient"]
    place: Int[Tensor, "replicate place"]
    own_to: Int[Tensor, "replicate patient"]
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
        running = _from_zero(_take(value, self.place))
        ends = _take(running, self.own_to)
        return ends - torch.cat([torch.zeros_like(ends[..., :1]), ends[..., :-1]], dim=-1)

    def tied_mean(self, value: Float[Tensor, "*more replicate place"]) -> Float[Tensor, "*more replicate place"]:
        """At each event, the mean of a value over the events tied with it."""
        if self.first is None or self.last is None:
            return value
        return self._of_ties(value) / (self.last - self.first + 1)

    def rows(self, which: Bool[Tensor, "replicate"]) -> RecurrentTimes:
        """Some replicates."""
        return dataclasses.replace(self, **{name: field[which] for name in self.__slots__ if (field := getattr(self, name)) is not None})

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
    happened = torch.isfinite(data.time) & there[..., None]
    own_to = happened.sum(-1).cumsum(-1)
    n, n_events = own_to.shape[-1], own_to[:, -1]
    width = max(1, int(n_events.max()))
    exists = torch.arange(width, device=n_events.device) < n_events[:, None]
    time = torch.full(exists.shape, torch.inf, dtype=torch.float64, device=exists.device)
    owner = torch.zeros(exists.shape, dtype=torch.int64, device=exists.device)
    # Both run through replicates, patients and a patient's events in this order.
    time[exists], owner[exists] = data.time[happened], happened.nonzero()[:, 1]
    follow_up = torch.where(there, data.follow_up, torch.inf)
    rank, span = _ranks(torch.cat([follow_up, time], dim=-1))
    low = torch.zeros_like(rank[:, :n]) if data.stratum is None or data.n_strata == 1 else data.stratum.to(torch.int64) * span
    beyond = max(1, data.n_strata) * span
    patient_key = torch.where(there, low + rank[:, :n], beyond)
    event_key = torch.where(exists, low.gather(-1, owner) + rank[:, n:], beyond)
    order, by_time = argsort_last(patient_key), argsort_last(event_key)
    place = torch.empty_like(by_time).scatter_(-1, by_time, torch.arange(width, device=time.device).expand_as(by_time))
    event_key, owner = event_key.gather(-1, by_time), owner.gather(-1, by_time)
    event = exists.to(torch.float64)
    sorted_patients = patient_key.gather(-1, order)
    event_low = low.gather(-1, owner)
    first = last = share = None
    same = (event_key[:, 1:] == event_key[:, :-1]) & (event[:, 1:] > 0)
    if same.any():
        first, last = runs(~same)
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
        own_to=own_to,
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
