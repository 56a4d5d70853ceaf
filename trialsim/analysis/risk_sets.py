"""Who is at risk at each event, by rank: sums over risk sets as running sums.

Patients are sorted by stratum and then by falling time (at equal times the censored first, patients not in the analysis
last), so that the sum of a weight over the risk set of rank r is a running sum along the ranks of its stratum. Where d
events are tied, all d see the risk set of the whole group; Efron's method takes away the share l/d of the group's own
weight from the l-th of them, l = 0, …, d - 1; Breslow's takes nothing. The exact likelihood is not a sum over risk sets
(`exact_ties`); it takes the layout only.

**Source:** Efron 1977 (doi 10.1080/01621459.1977.10480613); Breslow 1974 (doi 10.2307/2529620); the backward recursion of
Therneau & Grambsch 2000, section 3.3 (doi 10.1007/978-1-4757-3294-8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.tied_ranks import runs
from trialsim.tensors import argsort_last, order_longest_first

Ties = Literal["efron", "breslow", "exact"]


@dataclass(frozen=True, slots=True)
class RiskSets:
    """The sorted layout of a block. `event` is 1.0 where an event happened and 0.0 elsewhere, in rank order.

    `first` and `last` are the ranks of the first and the last event tied with this one (of the rank itself where there is no
    tie); None when no replicate has tied events. `share` is l/d, None but under Efron's method. `start` and `end` are the first
    and the last rank of the stratum; None when there is one stratum.
    """

    order: Int[Tensor, "replicate rank"]
    event: Float[Tensor, "replicate rank"]
    first: Int[Tensor, "replicate rank"] | None
    last: Int[Tensor, "replicate rank"] | None
    share: Float[Tensor, "replicate rank"] | None
    start: Int[Tensor, "replicate rank"] | None
    end: Int[Tensor, "replicate rank"] | None
    exact: bool = False

    def at_risk(self, weight: Float[Tensor, "*more replicate rank"]) -> Float[Tensor, "*more replicate rank"]:
        """At each event, the sum of `weight` over its risk set, corrected for ties."""
        total = weight.cumsum(-1)
        before = total - weight
        if self.start is not None:
            below = before.gather(-1, self.start.expand_as(before))
            total, before = total - below, before - below
        if self.last is None or self.first is None:
            return total
        whole = total.gather(-1, self.last.expand_as(total))
        if self.share is None:
            return whole
        return whole - self.share * (whole - before.gather(-1, self.first.expand_as(before)))

    def accumulated(self, increment: Float[Tensor, "replicate rank"]) -> Float[Tensor, "replicate rank"]:
        """For each patient, the sum of the increments of the events the patient was at risk for.

        `increment` is zero where there is no event. The transpose of `at_risk`: Σ_e increment_e at_risk(w)_e equals
        Σ_i w_i accumulated(increment)_i.
        """
        running = increment.cumsum(-1)
        total = running[..., -1:] if self.end is None else running.gather(-1, self.end)
        if self.first is None or self.last is None:
            return total - (running - increment)
        seen = total - (running - increment).gather(-1, self.first)
        if self.share is None:
            return seen
        part = self.share * increment
        taken = part.cumsum(-1)
        return seen - (taken.gather(-1, self.last) - (taken - part).gather(-1, self.first))

    def tied_mean(self, value: Float[Tensor, "replicate rank"]) -> Float[Tensor, "replicate rank"]:
        """At each event, the mean of `value` (zero where there is no event) over the events tied with it."""
        if self.first is None or self.last is None:
            return value
        running = value.cumsum(-1)
        total = running.gather(-1, self.last) - (running - value).gather(-1, self.first)
        return torch.where(self.last > self.first, total / (self.last - self.first + 1), value)

    def rows(self, which: Int[Tensor, "row"] | Bool[Tensor, "replicate"]) -> RiskSets:
        """The layout of some replicates."""
        first, last, share, start, end = (None if field is None else field[which] for field in (self.first, self.last, self.share, self.start, self.end))
        return RiskSets(order=self.order[which], event=self.event[which], first=first, last=last, share=share, start=start, end=end, exact=self.exact)


def risk_sets(
    time: Float[Tensor, "replicate patient"],
    event: Bool[Tensor, "replicate patient"],
    stratum: Int[Tensor, "replicate patient"] | None,
    *,
    ties: Ties = "efron",
) -> RiskSets:
    """The layout of a block. A negative `time` marks a patient not in the analysis, whose `event` must be false."""
    order = order_longest_first(time, event)
    start = end = None
    new_stratum = None
    if stratum is not None:
        level = stratum.gather(-1, order).to(torch.int16)
        by_stratum = argsort_last(level)
        order, level = order.gather(-1, by_stratum), level.gather(-1, by_stratum)
        new_stratum = level[:, 1:] != level[:, :-1]
        start, end = runs(new_stratum)
    happened = event.gather(-1, order)
    ordered = time.gather(-1, order).view(torch.int64) >> 2  # equal as the sort sees them
    same = (ordered[:, 1:] == ordered[:, :-1]) & happened[:, 1:] & happened[:, :-1]
    if new_stratum is not None:
        same &= ~new_stratum
    first = last = share = None
    if same.any():
        first, last = runs(~same)
        if ties == "efron":
            rank = torch.arange(time.shape[-1], device=time.device)
            share = (rank - first) / (last - first + 1).to(torch.float64)
    return RiskSets(order=order, event=happened.to(torch.float64), first=first, last=last, share=share, start=start, end=end, exact=ties == "exact")
