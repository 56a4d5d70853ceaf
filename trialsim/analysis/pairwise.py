"""Every patient of the test arm against every patient of the reference arm, over a hierarchy of endpoints.

A pair is compared on the first part of the hierarchy; pairs that part leaves undecided go on to the next. With `favours`
+1, patient i beats patient j

- on an event time, when j's event was observed and i was followed without it for longer: event_j and t_j < t_i - threshold,
  t_i the follow-up or event time (equal times decide nothing);
- on a value, when x_j < x_i - threshold; a missing value decides nothing.

With `favours` -1 the roles are exchanged: the one whose event came first, or whose value is smaller, wins.

`follow_up: common` compares a pair over the time for which both were followed for all event parts: a patient's follow-up
is the first censoring of any of their event parts, and later events of the pair do not count; `own` lets every part use
its own follow-up. `horizon` censors all event parts there.

Differences within a few units of the last place of a threshold do not exceed it (0.3 - 0.1 does not exceed 0.2). Pairs
are formed within strata. All counts are exact integers. Without a horizon the counts depend on the follow-up of the
trial: censored pairs are left tied, not imputed.

**Source:** Buyse 2010 (doi 10.1002/sim.3923); Pocock et al. 2012 (doi 10.1093/eurheartj/ehr352).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.records import EventData, HierarchyData
from trialsim.tensors import count_last

PAIRS_AT_ONCE = 1 << 20
SLACK = 4 * 2.0**-52


@dataclass(frozen=True, slots=True)
class Side:
    """One arm's patients (or all), brought to the front of the patient axis; places beyond the arm's size win and lose nothing.

    `reach` and `mark` have one tensor per part: i beats j when j's mark is below i's reach (NaN: never), or the other way
    round where `favours` is -1. `place` is the patient each column holds.
    """

    reach: tuple[Float[Tensor, "replicate patient"], ...]
    mark: tuple[Float[Tensor, "replicate patient"], ...]
    stratum: Int[Tensor, "replicate patient"] | None
    place: Int[Tensor, "replicate patient"]
    n: Int[Tensor, "replicate"]


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many pairs each patient won and lost, over all levels; and the pairs won and lost by the test side at each level."""

    won: Int[Tensor, "replicate test"]
    lost: Int[Tensor, "replicate test"]
    won_by_reference: Int[Tensor, "replicate reference"]
    lost_by_reference: Int[Tensor, "replicate reference"]
    wins: tuple[Int[Tensor, "replicate"], ...]
    losses: tuple[Int[Tensor, "replicate"], ...]


def in_analysis(data: HierarchyData) -> Bool[Tensor, "replicate patient"]:
    """Who is compared: patients whom an event part follows; in a hierarchy of values alone, those with any value."""
    events = [part.time >= 0 for part in data.parts if isinstance(part, EventData)]
    values = [~torch.isnan(part.value) for part in data.parts if not isinstance(part, EventData)]
    return torch.stack(events or values).any(0)


def sides(data: HierarchyData, *, common: bool = False, horizon: float | None = None) -> tuple[Side, Side]:
    """The test arm and the reference arm."""
    there = in_analysis(data)
    prepared = _prepared(data, common=common, horizon=horizon)
    group = data.parts[0].group
    return _side(there & (group == 1), prepared, data), _side(there & (group == 0), prepared, data)


def everyone(data: HierarchyData, *, common: bool = False, horizon: float | None = None) -> Side:
    """All patients of both arms as one side, for comparisons of everyone with everyone."""
    there = in_analysis(data) & (data.parts[0].group <= 1)
    return _side(there, _prepared(data, common=common, horizon=horizon), data)


def _prepared(data: HierarchyData, *, common: bool, horizon: float | None) -> list[tuple[Tensor, Tensor]]:
    """(reach, mark) of every part; [replicate, patient]."""
    events: list[tuple[Tensor, Tensor] | None] = []
    until = None
    for part in data.parts:
        if not isinstance(part, EventData):
            events.append(None)
            continue
        time, event = torch.where(part.time >= 0, part.time, torch.nan), part.event
        if horizon is not None:
            time, event = time.clamp(max=horizon), event & (time <= horizon)
        events.append((time, event))
        if common:
            censored = torch.where(event | torch.isnan(time), torch.inf, time)
            until = censored if until is None else torch.minimum(until, censored)
    prepared = []
    for part, times, threshold in zip(data.parts, events, data.thresholds, strict=True):
        if times is None:
            assert not isinstance(part, EventData)
            reach, mark = _below(part.value, threshold), part.value
        else:
            time, event = times
            reach = _below(time, threshold)
            mark = torch.where(event, time, torch.nan)
            if until is not None:
                mark = torch.where(time <= until, mark, torch.nan)
                after = torch.nextafter(until, torch.full_like(until, torch.inf))
                reach = torch.where(torch.isnan(reach), reach, torch.minimum(reach, after))
        prepared.append((reach, mark))
    return prepared


def _below(x: Tensor, threshold: float) -> Tensor:
    """What another must be less than to be more than `threshold` below x."""
    return x if threshold == 0 else x - threshold - SLACK * (x.abs() + threshold)


def _side(mine: Bool[Tensor, "replicate patient"], prepared: list[tuple[Tensor, Tensor]], data: HierarchyData) -> Side:
    n = count_last(mine)
    width = max(int(n.max()), 1)
    place = torch.argsort((~mine).to(torch.int8), dim=-1, stable=True)[:, :width]
    vacant = torch.arange(width, device=mine.device) >= n[:, None]
    first = data.parts[0]

    def arm(x: Tensor) -> Tensor:
        return x.gather(-1, place).masked_fill(vacant, torch.nan)

    return Side(
        reach=tuple(arm(reach) for reach, _ in prepared),
        mark=tuple(arm(mark) for _, mark in prepared),
        stratum=None if first.stratum is None or first.n_strata == 1 else first.stratum.gather(-1, place),
        place=place,
        n=n,
    )


def count_pairs(test: Side, reference: Side, favours: tuple[int, ...], *, by_level: bool = False) -> PairCounts:
    """All pairs of the two sides, some replicates (and, in large data, some patients) at a time. `favours` is the hierarchy's."""
    n_rows, n_test = test.reach[0].shape
    n_reference = reference.reach[0].shape[1]
    device = test.n.device
    wide = max(1, min(n_test, PAIRS_AT_ONCE // n_reference))
    rows_at_once = max(1, PAIRS_AT_ONCE // (wide * n_reference))
    counts = [torch.zeros((n_rows, n), dtype=torch.int64, device=device) for n in (n_test, n_test, n_reference, n_reference)]
    n_levels = len(favours) if by_level else 0
    levels = torch.zeros((2, n_levels, n_rows), dtype=torch.int64, device=device)
    for row in range(0, n_rows, rows_at_once):
        rows = slice(row, row + rows_at_once)
        for column in range(0, n_test, wide):
            columns = slice(column, column + wide)
            every_win, every_loss, undecided = None, None, None
            if test.stratum is not None and reference.stratum is not None:
                undecided = test.stratum[rows, columns, None] == reference.stratum[rows, None, :]
            for level, sign in enumerate(favours):
                above = reference.mark[level][rows, None, :] < test.reach[level][rows, columns, None]
                below = test.mark[level][rows, columns, None] < reference.reach[level][rows, None, :]
                win, loss = (above, below) if sign > 0 else (below, above)
                if undecided is not None:
                    win &= undecided
                    loss &= undecided
                if by_level:
                    levels[0, level, rows] += win.sum((-1, -2))
                    levels[1, level, rows] += loss.sum((-1, -2))
                every_win, every_loss = (win, loss) if every_win is None or every_loss is None else (every_win | win, every_loss | loss)
                if level + 1 < len(favours):
                    decided = win | loss
                    undecided = ~decided if undecided is None else undecided & ~decided
            assert every_win is not None
            assert every_loss is not None
            for k, mask in enumerate((every_win, every_loss)):
                counts[k][rows, columns] = count_last(mask)
                counts[3 - k][rows] += mask.sum(-2)
    won, lost, won_by_reference, lost_by_reference = counts
    return PairCounts(won, lost, won_by_reference, lost_by_reference, wins=tuple(levels[0]), losses=tuple(levels[1]))
