"""Conduct of a block of trials: look after look, until every monitored analysis has decided.

The trial stops at the look where every analysis that has looks has crossed its efficacy or futility bound, at its last
look, or at the first look whose target cannot be reached (all looks left collapse into that one, which spends the rest of
alpha). Analyses that name no looks are made there, at their full alpha. Replicates that have stopped leave the block
before the next look, except futility-stopped ones still needed to know what would have happened without futility.
Cuts and decisions are on the CPU, wherever the patients are.

Members of a family decide together (`families`). Not handled here: adaptations. An arm that futility has dropped is not tested
again; its patients go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.conduct.comparison import Comparison, Observables, PlannedAnalysis
from trialsim.conduct.cuts import Conditions, cut_time, visit_completion
from trialsim.conduct.decisions import Decisions
from trialsim.conduct.families import Family, PlannedFamily
from trialsim.conduct.follow_up import n_enrolled
from trialsim.conduct.looks import Look
from trialsim.records import AnalysisRecord, Block, TrialRecord
from trialsim.tensors import at_most, count_last

NONE: Mapping[str, PlannedFamily] = MappingProxyType({})


def conduct(
    block: Block,
    observables: Observables,
    *,
    arms: tuple[str, ...],
    looks: Mapping[str, Look],
    analyses: Mapping[str, PlannedAnalysis],
    primary_endpoint: str | None,
    families: Mapping[str, PlannedFamily] = NONE,
) -> TrialRecord:
    """Run every trial of the block to its end. `families` are those of the analyses that share an alpha."""
    enrolment = observables.enrolment
    conditions = Conditions(entry_time=enrolment.entry_time, events=observables.events, visits=visit_completion(observables.values), n_replicates=block.size)
    cuts, reached_target = _all_cuts(looks, conditions, primary_endpoint)
    n_looks = len(looks)
    must_stop = _last_look(cuts, reached_target)
    comparisons = {name: Comparison(plan, observables, name, len(arms)) for name, plan in analyses.items()}
    tables = {name: Decisions(block.size, n_looks, plan) for name, plan in analyses.items()}
    together = [Family(plan, tables, comparisons, block.size) for plan in families.values()]
    joined = {name for plan in families.values() for name in plan.members}
    monitored = [name for name, plan in analyses.items() if plan.looks]
    alone = [name for name in monitored if name not in joined]

    stop = torch.full((block.size,), n_looks - 1)
    rows = torch.arange(block.size)
    live = torch.ones(block.size, dtype=torch.bool)  # of `rows`; the others are stopped for futility but still followed
    for look in range(n_looks):
        if not len(rows):
            break
        final = must_stop[rows] == look
        decided = torch.full((len(rows),), bool(monitored))
        for name in alone:
            due = tables[name].due(look, rows, final)
            if due.any():
                at, live_at, final_at = (rows, live, final) if due.all() else (rows[due], live[due], final[due])
                data = comparisons[name].data(cuts[at, look], at)
                counted = comparisons[name].pooled_information(cuts[at, look], at, reached_target[at, look] & (look in analyses[name].looks))
                tables[name].decide(look, at, live=live_at, final=final_at, reached=reached_target[at, look], data=data, counted=counted)
        for family in together:
            if family.by_looks:
                family.decide(look, rows, live=live, final=final, reached=reached_target[rows, look], cut=cuts[rows, look])
        for name in monitored:
            decided &= tables[name].closed[rows]
        if look == n_looks - 1:
            break  # what is not stopped by now stops here
        ends = decided | final
        stop[rows[ends & live]] = look
        live = live & ~ends
        followed = live | (~final & _wanted(tables, rows))
        rows, live = rows[followed], live[followed]

    at_end = cuts.gather(-1, stop[:, None])[:, 0]
    every = torch.arange(block.size)
    for family in together:
        if not family.by_looks:
            family.decide_at_end(stop, [comparison.data(at_end, every) for comparison in family.comparisons])
    for name, plan in analyses.items():
        if not plan.looks and name not in joined:
            tables[name].decide_at_end(stop, comparisons[name].data(at_end, every))
    return _record(block, observables, arms, tuple(looks), cuts, reached_target, stop, at_end, {name: table.record() for name, table in tables.items()})


def _last_look(cuts: Float[Tensor, "replicate look"], reached: Bool[Tensor, "replicate look"]) -> Int[Tensor, "replicate"]:
    """The look (from 0) at which each trial must end.

    The first whose target is out of reach and after which nothing more comes in: the next look would be the same cut. Looks
    left over collapse into it. A look that its own `not_after` cuts short while later ones wait longer ends nothing.
    """
    n_looks = cuts.shape[-1]
    over = ~reached[:, :-1] & (cuts[:, 1:] <= cuts[:, :-1])
    return torch.where(over.any(-1), over.to(torch.int8).argmax(-1), n_looks - 1) if n_looks > 1 else torch.zeros(len(cuts), dtype=torch.int64)


def _wanted(tables: Mapping[str, Decisions], rows: Int[Tensor, "row"]) -> Bool[Tensor, "row"]:
    """Replicates in which a futility rule has hidden whether efficacy would still have been shown."""
    wanted = torch.zeros(len(rows), dtype=torch.bool)
    for table in tables.values():
        if table.plan.ignore_futility:
            wanted |= table.only_futile[rows]
    return wanted


def _all_cuts(looks: Mapping[str, Look], conditions: Conditions, endpoint: str | None) -> tuple[Tensor, Tensor]:
    pairs = [cut_time(look, conditions, endpoint) for look in looks.values()]
    times = torch.stack([time for time, _ in pairs], dim=-1)
    return times.cummax(-1).values if times.shape[-1] > 1 else times, torch.stack([reached for _, reached in pairs], dim=-1)


def _record(
    block: Block,
    observables: Observables,
    arms: Sequence[str],
    looks: tuple[str, ...],
    cuts: Tensor,
    reached_target: Tensor,
    stop: Tensor,
    at_end: Tensor,
    analyses: Mapping[str, AnalysisRecord],
) -> TrialRecord:
    n_looks = len(looks)
    reached = torch.arange(n_looks) <= stop[:, None]
    entry, arm = observables.enrolment.entry_time, observables.enrolment.arm
    here = cuts.to(arm.device)
    enrolled = torch.stack([n_enrolled(entry, here[:, look]) for look in range(n_looks)], dim=-1).cpu()
    n_events = {}
    for endpoint, follow_up in observables.events.items():
        columns = [count_last(at_most(follow_up.calendar_event, here[:, look, None])) for look in range(n_looks)]
        n_events[endpoint] = torch.stack(columns, dim=-1).cpu() * reached
    at_stop = enrolled.gather(-1, stop[:, None])
    return TrialRecord(
        block=block,
        looks=looks,
        cut_time=torch.where(reached, cuts, torch.nan),
        n_enrolled=enrolled * reached,
        reached=reached,
        stop_look=stop + 1,
        target_not_reached=(~reached_target & reached).any(-1),
        n_events=n_events,
        n_per_arm=dict(zip(arms, _per_arm(arm, len(arms), at_stop[:, 0]), strict=True)),
        analyses=dict(analyses),
    )


def _per_arm(arm: Int[Tensor, "replicate patient"], n_arms: int, n_enrolled: Int[Tensor, "replicate"]) -> list[Int[Tensor, "replicate"]]:
    """How many of the first `n_enrolled` patients are in each arm: those from this arm on, less those from the next one on."""
    n_patients, device = arm.shape[-1], arm.device
    there = None if bool((n_enrolled == n_patients).all()) else torch.arange(n_patients, device=device) < n_enrolled[:, None].to(device)
    from_arm_on = [n_enrolled]
    for index in range(1, n_arms):
        later = at_most(torch.tensor(index, dtype=arm.dtype, device=device), arm)
        from_arm_on.append(count_last(later if there is None else later & there).cpu())
    return [these - later for these, later in pairwise([*from_arm_on, torch.zeros_like(n_enrolled)])]
