"""The cumulative incidence of one cause among competing ones, with its variance, arm by arm (Aalen-Johansen).

With Y at risk, d1 events of the cause and d2 of other causes at a time, S the Kaplan-Meier estimate of no event at all,

    F(t) = Σ_{s<=t} S(s-) d1/Y,   V(t) = Σ_{s<=t} S(s-)² [g1² c11 + 2 g1 g2 c12 + g2² c22],
    g1 = 1 - Q, g2 = -Q, Q = (F(t) - F(s))/S(s): the probability of the cause between s and t.

`aalen`: c_jj = d_j (Y - d_j)/(Y - 1)/Y², c12 = 0, as cmprsk. `greenwood`: the multinomial c_jj = d_j (Y - d_j)/Y³, c12 = -d1 d2/Y³.
`jackknife`: the sum of squares of the patients' influences, (their own jump) - (what was expected of them),
g_c(T)/Y(T) - Σ_{s<=min(T,t)} S(s-) (g1 d1 + g2 d2)/Y², as survival's multi-state curves.

F is known up to the last follow-up, and beyond it where nobody was left without an event.

**Source:** Aalen & Johansen 1978 (Scand J Stat 5:141); Aalen 1978 (doi 10.1214/aos/1176344198); Gray 1988 (doi
10.1214/aos/1176350951).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.cause_table import CauseTable

IncidenceVariance = Literal["aalen", "greenwood", "jackknife"]


@dataclass(frozen=True, slots=True)
class Incidence:
    """The curve of one arm at every rank of the table. `known` is the last time it is known at (infinite: always)."""

    time: Float[Tensor, "replicate rank"]
    incidence: Float[Tensor, "replicate rank"]
    variance: Float[Tensor, "replicate rank"]
    event_free: Float[Tensor, "replicate rank"]
    known: Float[Tensor, "replicate"]


def incidence_curve(table: CauseTable, group: int, *, variance: Literal["aalen", "greenwood"] = "aalen") -> Incidence:
    """F, its variance and S of an arm, as they stand after every rank."""
    parts = _steps(table, group)
    y, d1, d2 = parts.y, parts.d1, parts.d2
    if variance == "aalen":
        c11, c22 = (d * (y - d) / (y - 1.0).clamp(min=1.0) / (y * y) for d in (d1, d2))
        # The last one at risk: (Y - d)/(Y - 1) is 1 there.
        lone = y == 1.0
        c11, c22 = torch.where(lone, d1, c11), torch.where(lone, d2, c22)
        c12 = torch.zeros_like(c11)
    else:
        cube = y * y * y
        c11, c22, c12 = d1 * (y - d1) / cube, d2 * (y - d2) / cube, -d1 * d2 / cube
    q = torch.where(parts.after > 0, 1.0 / parts.after, 0.0)
    p2 = parts.incidence * q
    p1 = 1.0 + p2
    c22 = torch.where(parts.after > 0, c22, 0.0)
    weight = parts.before * parts.before
    v1 = (weight * (p1 * p1 * c11 + p2 * p2 * c22 + 2.0 * p1 * p2 * c12)).cumsum(-1)
    v2 = (weight * q * (p1 * c11 + p2 * c22 + (p1 + p2) * c12)).cumsum(-1)
    v3 = (weight * q * q * (c11 + c22 + 2.0 * c12)).cumsum(-1)
    f = parts.incidence
    known = torch.where(parts.after[:, -1] > 0, table.last_time()[group], torch.inf)
    return Incidence(table.time, f, (v1 - 2.0 * f * v2 + f * f * v3).clamp(min=0.0), parts.after, known)


def incidence_at(table: CauseTable, group: int, at: Float[Tensor, "replicate"], *, variance: IncidenceVariance = "aalen") -> tuple[Tensor, Tensor]:
    """F and its variance at a time of each replicate; NaN where the arm's curve is not known there."""
    curve = incidence_curve(table, group, variance="aalen" if variance == "jackknife" else variance)
    f = _at(curve.incidence, table.time, at)
    v = _jackknife(table, group, at, f) if variance == "jackknife" else _at(curve.variance, table.time, at)
    unknown = at > curve.known
    return f.masked_fill(unknown, torch.nan), v.masked_fill(unknown, torch.nan)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Counts of one arm (`y` at least 1) and the curves before and after every rank."""

    y: Tensor
    d1: Tensor
    d2: Tensor
    before: Tensor
    after: Tensor
    incidence: Tensor


def _steps(table: CauseTable, group: int) -> _Steps:
    y, d1, d2 = table.at_risk[group].clamp(min=1.0), table.cause[group], table.other[group]
    after = ((y - d1 - d2) / y).cumprod(-1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=-1)
    return _Steps(y, d1, d2, before, after, (before * d1 / y).cumsum(-1))


def _at(values: Tensor, time: Tensor, at: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
    """The value after the last rank whose time is at most `at`; 0 before the first."""
    rank = (time <= at[:, None]).sum(-1)
    found = values.gather(-1, (rank - 1).clamp(min=0)[:, None])[:, 0]
    return torch.where(rank > 0, found, 0.0)


def _jackknife(table: CauseTable, group: int, at: Float[Tensor, "replicate"], f: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
    parts = _steps(table, group)
    inside = table.time <= at[:, None]
    later = torch.where(parts.after > 0, (f[:, None] - parts.incidence) / parts.after, 0.0)
    g1, g2 = parts.before * (1.0 - later), -parts.before * later
    expected = torch.where(inside, (g1 * parts.d1 + g2 * parts.d2) / (parts.y * parts.y), 0.0).cumsum(-1)
    left = table.left[group]
    censored = left - parts.d1 - parts.d2
    own1, own2 = g1 / parts.y - expected, g2 / parts.y - expected
    within = parts.d1 * own1 * own1 + parts.d2 * own2 * own2 + censored * expected * expected
    beyond = left * expected * expected
    return torch.where(inside, within, beyond).sum(-1)
