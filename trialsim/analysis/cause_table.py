"""Who is at risk and who has which event, by distinct time and arm: the table that competing-risks methods start from.

Patients are sorted by rising time. Counts stand at the last rank of every distinct time and are zero at the other ranks,
so that sums and products over ranks are sums and products over distinct times, ties or no ties. At its own time a
patient is at risk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.records import EventData
from trialsim.tensors import argsort_last


@dataclass(frozen=True, slots=True)
class CauseTable:
    """`time` is infinite at the ranks of patients not in the analysis. `left` counts all whose follow-up ends at the time, with an event or not."""

    time: Float[Tensor, "replicate rank"]
    at_risk: Float[Tensor, "group replicate rank"]
    cause: Float[Tensor, "group replicate rank"]
    other: Float[Tensor, "group replicate rank"]
    left: Float[Tensor, "group replicate rank"]

    def last_time(self) -> Float[Tensor, "group replicate"]:
        """The longest follow-up of each arm; -1 where it has no patient."""
        return torch.where(self.left > 0, self.time, -1.0).amax(-1)


def cause_table(data: EventData, stratum: int | None = None) -> CauseTable:
    """The table of all `data.n_groups` arms; of one stratum only where it is named."""
    there = data.time >= 0
    if stratum is not None:
        assert data.stratum is not None
        there = there & (data.stratum == stratum)
    time = torch.where(there, data.time, torch.inf)
    order = argsort_last(time, stable=False)  # what is counted at a time does not depend on the order within it
    time, there, group = time.gather(-1, order), there.gather(-1, order), data.group.gather(-1, order)
    cause = data.event.gather(-1, order) & there
    counted = [there, cause] if data.competing is None else [there, cause, data.competing.gather(-1, order) & there & ~cause]
    same = time[:, 1:] == time[:, :-1]
    arms = [group == g for g in range(data.n_groups)]
    marks = torch.stack([arm & mark for mark in counted for arm in arms]).view(torch.int8).to(torch.float64)
    running = marks.cumsum(-1)
    before = running - marks
    if same.any():
        last, first = _ends(same)
        before = before.gather(-1, first.expand_as(before))
        within = torch.where(last, running - before, 0.0)
    else:
        within = marks
    n = data.n_groups
    other = torch.zeros_like(within[:n]) if data.competing is None else within[2 * n :]
    return CauseTable(time=time, at_risk=running[:n, :, -1:] - before[:n], cause=within[n : 2 * n], other=other, left=within[:n])


def _ends(same: Bool[Tensor, "replicate step"]) -> tuple[Bool[Tensor, "replicate rank"], Int[Tensor, "replicate rank"]]:
    """Whether a rank is the last of its time, and the first rank of its time."""
    edge = torch.zeros((len(same), 1), dtype=torch.bool, device=same.device)
    last = ~torch.cat([same, edge], dim=-1)
    rank = torch.arange(last.shape[-1], device=same.device)
    first = torch.where(~torch.cat([edge, same], dim=-1), rank, 0).cummax(-1).values
    return last, first
