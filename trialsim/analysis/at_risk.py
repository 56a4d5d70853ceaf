"""How many are at risk in each arm at each event, from one sort, strata included.

Patients are sorted longest time first, so the number at risk at an event is a running count along the ranks. Strata are not
sorted apart: the running counts of four strata ride in one 64-bit sum, sixteen bits each, and every rank reads its own.
Where events are tied within a replicate these counts are not yet right; such replicates are named in `tied` and are the
caller's to mend.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.records import EventData
from trialsim.tensors import MOST_STRATA, sort_longest_first

FIELD = 16  # bits of one running count
PER_WORD = 4


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Counts by rank (longest time first). At a rank without event they mean nothing.

    `n` and `test` are the patients at risk in the rank's own stratum, in both arms and in the test arm; `n` has one row where
    there is one stratum. `tied`: replicates with tied events, whose counts are not those of their risk sets.
    """

    event: Bool[Tensor, "replicate rank"]
    group: Int[Tensor, "replicate rank"]
    n: Float[Tensor, "replicate_or_1 rank"]
    test: Float[Tensor, "replicate rank"]
    tied: Bool[Tensor, "replicate"]


def at_risk(data: EventData) -> AtRisk:
    """Counts at risk of every replicate. At most 64 strata and 65,535 patients are counted at once: see `fits`."""
    if data.stratum is None or data.n_strata == 1:
        event, group, _, tied = sort_longest_first(data.time, data.event, data.group)
        n = torch.arange(1, event.shape[-1] + 1, dtype=torch.float64, device=event.device)[None]
        return AtRisk(event, group, n, group.cumsum(-1, dtype=torch.float64), tied)
    event, group, stratum, tied = sort_longest_first(data.time, data.event, data.group, data.stratum, data.n_strata)
    assert stratum is not None
    total = test = None
    for first in range(0, data.n_strata, PER_WORD):
        field = (stratum - first).to(torch.int64) * FIELD
        one = torch.ones_like(field)
        if data.n_strata > PER_WORD:
            inside = (stratum >= first) & (stratum < first + PER_WORD)
            field = field.clamp(0, FIELD * (PER_WORD - 1))
            one = inside.to(torch.int64)
        increment = one.bitwise_left_shift_(field)
        counts = [_own(weights.cumsum(-1), field) for weights in (increment, increment * group)]
        if total is None or test is None:
            total, test = counts
        else:
            total, test = torch.where(inside, counts[0], total), torch.where(inside, counts[1], test)
    assert total is not None
    assert test is not None
    return AtRisk(event, group, total, test, tied)


def fits(data: EventData) -> bool:
    """Whether `at_risk` can count this block: its fields and sort keys are wide enough."""
    return data.stratum is None or data.n_strata == 1 or (data.n_strata <= MOST_STRATA and data.time.shape[-1] < 1 << FIELD)


def _own(running: Int[Tensor, "replicate rank"], field: Int[Tensor, "replicate rank"]) -> Float[Tensor, "replicate rank"]:
    """Each rank's own field of a packed running sum. The topmost field may carry the sign; the mask takes it away."""
    return running.bitwise_right_shift_(field).bitwise_and_((1 << FIELD) - 1).to(torch.float64)
