"""True values that compare independent patients: win ratio, net benefit, win odds, and the median of pairwise differences.

Disjoint pairs of different twins, one seen under the test arm, the other under the reference arm, each followed from its own
entry to the cut without loss to follow-up. With shares w won and l lost by the test patient of n pairs,

    win ratio  log w - log l      net benefit  w - l      win odds  log((1 + w - l) / (1 - w + l))

and the MCSE by the delta method from var = (w + l - (w - l)^2) / n and its like. A pair is decided by the same rules, and by
the same code, as in the analysis.

**Source:** Buyse 2010, doi 10.1002/sim.3923; Brunner, Vandemeulebroecke & Mütze 2021, doi 10.1002/sim.8967 (win odds);
Hodges & Lehmann 1963, doi 10.1214/aoms/1177704172.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from trialsim.analysis.methods.win_ratio import win_counts
from trialsim.evaluation.truth import TrueValue
from trialsim.records import EventData, HierarchyData, ValueData


def in_pairs(data: HierarchyData) -> HierarchyData:
    """Neighbouring patients as trials of two: the odd places of the patient axis hold the partners. No strata."""

    def split(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        even = tensor.shape[-1] // 2 * 2
        return tensor[:, :even].reshape(-1, 2)

    parts: list[EventData | ValueData] = []
    for part in data.parts:
        if isinstance(part, EventData):
            time, event, group = split(part.time), split(part.event), split(part.group)
            assert time is not None
            assert event is not None
            assert group is not None
            parts.append(EventData(time=time, event=event, group=group))
        else:
            value, group = split(part.value), split(part.group)
            assert value is not None
            assert group is not None
            parts.append(ValueData(value=value, group=group))
    return replace(data, parts=tuple(parts))


def true_win_measure(blocks: Iterable[HierarchyData], measure: str, *, common: bool, horizon: float | None) -> TrueValue | None:
    """The measure of wins on the scale of inference, over the pairs of the blocks; None where nobody wins or nobody loses a ratio."""
    won = lost = n = 0
    for data in blocks:
        wins, losses = win_counts(in_pairs(data), common=common, horizon=horizon)
        won, lost, n = won + int(wins.sum()), lost + int(losses.sum()), n + wins.shape[-1]
    w, l = won / n, lost / n
    spread = w + l - (w - l) ** 2
    if measure == "net_benefit":
        return TrueValue(w - l, math.sqrt(spread / n), n)
    if measure == "win_odds":
        benefit = w - l
        return TrueValue(math.log1p(benefit) - math.log1p(-benefit), math.sqrt(spread / n) * 2.0 / (1.0 - benefit**2), n) if abs(benefit) < 1.0 else None
    if won == 0 or lost == 0:
        return None
    return TrueValue(math.log(w) - math.log(l), math.sqrt((1.0 / w + 1.0 / l) / n), n)


def true_median_of_differences(test: Tensor, reference: Tensor) -> TrueValue | None:
    """The median over pairs of the test patient's value minus the reference patient's; MCSE from the order statistics one binomial
    standard error to either side."""
    differences = np.sort((test - reference).reshape(-1).numpy())
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    if n == 0:
        return None
    half = 0.5 * math.sqrt(n)
    low, high = (float(differences[min(max(round(0.5 * n + step), 0), n - 1)]) for step in (-half, half))
    return TrueValue(float(np.median(differences)), 0.5 * (high - low), n)
