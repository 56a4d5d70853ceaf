"""The probability of being in each state of a multi-state process over time, with its variance (Aalen-Johansen).

A patient is a sequence of sojourns: from an entry to an exit time in a state, left for another state or censored there.
With Y_h at risk in state h just before a time (entry < t <= exit) and dN_hj transitions at it, dA_hj = dN_hj/Y_h, dA_hh = -Σ_j dA_hj,

    p(t) = p(0) Π_{s<=t} (I + dA(s)),   C(t) = (I + dA)'C(t-)(I + dA) + Σ_h p_h² Cov(dA_h.),

C the covariance of p. `aalen`: Var dA_hj = dN_hj/Y_h², covariances 0, p_h = p_h(t), as mstate; `greenwood`: the multinomial
(dN_hj Y_h - dN_hj²)/Y_h³, -dN_hj dN_hl/Y_h³, p_h = p_h(t-), which is Greenwood's formula for a survival curve. The products and the recursion for C are prefix compositions, found by doubling: no loop over times.
Consistent for state occupation also where the process is not Markov, if censoring is independent (Datta & Satten 2001); the
variance then is not.

**Source:** Aalen & Johansen 1978 (Scand J Stat 5:141); Andersen, Borgan, Gill & Keiding 1993, section IV.4 (doi
10.1007/978-1-4612-4348-9); Datta & Satten 2001 (doi 10.1016/S0167-7152(01)00155-9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.tensors import sort_last


@dataclass(frozen=True, slots=True)
class Sojourns:
    """Stays in states: `source` the state (-1: no such stay), `target` the state it is left for, -1 where it is censored."""

    entry: Float[Tensor, "replicate sojourn"]
    exit: Float[Tensor, "replicate sojourn"]
    source: Int[Tensor, "replicate sojourn"]
    target: Int[Tensor, "replicate sojourn"]
    n_states: int


def illness_death(
    illness_time: Float[Tensor, "replicate patient"],
    ill: Bool[Tensor, "replicate patient"],
    death_time: Float[Tensor, "replicate patient"],
    died: Bool[Tensor, "replicate patient"],
) -> Sojourns:
    """States 0 (well), 1 (ill), 2 (dead) from an illness time and a death or follow-up time (negative: not in the analysis).

    Illness at or after the time of death is not seen: the patient died from state 0.
    """
    there = death_time >= 0
    ill = ill & there & (illness_time < death_time)
    source = torch.where(there, 0, -1)
    after = torch.where(died, 2, -1)
    return Sojourns(
        entry=torch.cat([torch.zeros_like(death_time), torch.where(ill, illness_time, 0.0)], dim=-1),
        exit=torch.cat([torch.where(ill, illness_time, death_time), death_time], dim=-1),
        source=torch.cat([source, torch.where(ill, 1, -1)], dim=-1),
        target=torch.cat([torch.where(ill, 1, after), after], dim=-1),
        n_states=3,
    )


def state_occupation(
    sojourns: Sojourns,
    at: Float[Tensor, "time"],
    *,
    start: int = 0,
    variance: Literal["aalen", "greenwood"] = "aalen",
) -> tuple[Float[Tensor, "replicate time state"], Float[Tensor, "replicate time state"]]:
    """Probability of each state at each time for those who start in `start`, and its variance."""
    time, at_risk, moves = _counts(sojourns)
    k = sojourns.n_states
    n_rows, n_times = time.shape
    safe = at_risk.clamp(min=1.0)
    step = torch.zeros((n_rows, n_times, k, k), dtype=time.dtype, device=time.device)
    for h in range(k):
        step[..., h, h] = 1.0
        for j in range(k):
            if j != h:
                rate = moves[h][j] / safe[h]
                step[..., h, j] = rate
                step[..., h, h] -= rate
    products = _prefix_products(step)
    p = products[..., start, :]
    begun = torch.zeros_like(p[:, :1])
    begun[..., start] = 1.0
    before = torch.cat([begun, p[:, :-1]], dim=1)
    multinomial = variance == "greenwood"
    added = _added(before if multinomial else p, safe, moves, multinomial=multinomial)
    covariance = _prefix_covariances(step, added)
    spread = torch.stack([covariance[..., j, j] for j in range(k)], dim=-1)
    rank = torch.stack([(time <= t).sum(-1) for t in at], dim=-1)
    index = rank[..., None].expand(n_rows, len(at), k)
    p = torch.cat([begun, p], dim=1).gather(1, index)
    return p, torch.cat([torch.zeros_like(begun), spread], dim=1).gather(1, index).clamp(min=0.0)


def _counts(sojourns: Sojourns) -> tuple[Tensor, Tensor, list[list[Tensor]]]:
    """Times of transitions (rising, infinite where there are no more), those at risk in each state, and transitions at the last rank of each time."""
    moved = (sojourns.source >= 0) & (sojourns.target >= 0)
    time = sort_last(torch.where(moved, sojourns.exit, torch.inf))
    last = torch.ones_like(time, dtype=torch.bool)
    last[:, :-1] = time[:, 1:] != time[:, :-1]
    last &= torch.isfinite(time)
    at_risk, moves = [], []
    for h in range(sojourns.n_states):
        mine = sojourns.source == h
        entries, exits = (sort_last(torch.where(mine, when, torch.inf)) for when in (sojourns.entry, sojourns.exit))
        at_risk.append((torch.searchsorted(entries, time) - torch.searchsorted(exits, time)).to(torch.float64))
        row = []
        for j in range(sojourns.n_states):
            exits = sort_last(torch.where(mine & (sojourns.target == j), sojourns.exit, torch.inf))
            count = torch.searchsorted(exits, time, right=True) - torch.searchsorted(exits, time)
            row.append(torch.where(last, count, 0).to(torch.float64))
        moves.append(row)
    return time, torch.stack(at_risk), moves


def _added(p: Tensor, at_risk: Tensor, moves: list[list[Tensor]], *, multinomial: bool) -> Float[Tensor, "replicate time state state"]:
    """Σ_h p_h² Cov(dA_h.)."""
    k = len(moves)
    total = torch.zeros((*p.shape, k), dtype=p.dtype, device=p.device)
    for h in range(k):
        y = at_risk[h]
        weight = p[..., h] * p[..., h] / (y * y)
        out = [j for j in range(k) if j != h]
        for j in out:
            for other in out:
                value = moves[h][j] if j == other else torch.zeros_like(y)
                if multinomial:
                    value = value - moves[h][j] * moves[h][other] / y
                value = weight * value
                # dA_hh is minus the sum of the others.
                total[..., j, other] += value
                total[..., h, other] -= value
                total[..., j, h] -= value
                total[..., h, h] += value
    return total


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products, entry by entry."""
    total = a[..., :, 0, None] * b[..., None, 0, :]
    for l in range(1, a.shape[-1]):
        total = total + a[..., :, l, None] * b[..., None, l, :]
    return total


def _prefix_products(step: Tensor) -> Tensor:
    """step_1 step_2 … step_r for every r, by doubling."""
    products, stride = step.clone(), 1
    while stride < step.shape[1]:
        products = torch.cat([products[:, :stride], _times(products[:, :-stride], products[:, stride:])], dim=1)
        stride *= 2
    return products


def _prefix_covariances(step: Tensor, added: Tensor) -> Tensor:
    """C_r = step_r' C_{r-1} step_r + added_r for every r, by doubling over the pairs (step, added)."""
    products, covariances, stride = step, added, 1
    while stride < step.shape[1]:
        later, earlier = products[:, stride:], covariances[:, :-stride]
        carried = _times(later.transpose(-1, -2), _times(earlier, later)) + covariances[:, stride:]
        covariances = torch.cat([covariances[:, :stride], carried], dim=1)
        products = torch.cat([products[:, :stride], _times(products[:, :-stride], later)], dim=1)
        stride *= 2
    return covariances
