"""Two proportions: score statistics at a null value, restricted maximum likelihood, and intervals.

x1 of n1 respond in the test arm, x0 of n0 in the reference. Effects are on the scale of inference: the difference p1 - p0,
the log ratio or the log odds ratio. The score statistic of H0: effect = e is

    difference:  (p̂1 - p̂0 - e) / √V,    V = p̃1 q̃1/n1 + p̃0 q̃0/n0
    ratio r:     (p̂1 - r p̂0) / √V,       V = p̃1 q̃1/n1 + r² p̃0 q̃0/n0
    odds ratio:  (x1 - n1 p̃1) √W,        W = 1/(n1 p̃1 q̃1) + 1/(n0 p̃0 q̃0)

with p̃ the maximum likelihood under H0: Farrington and Manning's test, or, times √((N - 1)/N), Miettinen and Nurminen's. An
interval by score holds the values that the test does not reject. Functions take tensors of any equal shape.

**Source:** Miettinen & Nurminen 1985 (doi 10.1002/sim.4780040211); Farrington & Manning 1990 (doi 10.1002/sim.4780091208);
Wilson 1927 (doi 10.1080/01621459.1927.10502953); Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I);
Donner & Zou 2012 (doi 10.1177/0962280210383165) for ratios of recovered variances;
Agresti & Caffo 2000 (doi 10.1080/00031305.2000.10474560); Clopper & Pearson 1934 (doi 10.1093/biomet/26.4.404).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

Measure = Literal["difference", "ratio", "odds_ratio"]
Limits = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]
BISECTIONS = 60
FAR = 30.0  # beyond, a log ratio is infinite


@dataclass(frozen=True, slots=True)
class Table:
    """Responders and patients of the test arm (1) and the reference (0)."""

    x1: Float[Tensor, "..."]
    n1: Float[Tensor, "..."]
    x0: Float[Tensor, "..."]
    n0: Float[Tensor, "..."]

    @property
    def p1(self) -> Tensor:
        return self.x1 / self.n1

    @property
    def p0(self) -> Tensor:
        return self.x0 / self.n0


def effect(table: Table, measure: Measure) -> Tensor:
    """The estimate on the scale of inference; infinite, or NaN where neither arm says anything."""
    if measure == "difference":
        return table.p1 - table.p0
    if measure == "ratio":
        return torch.log(table.p1) - torch.log(table.p0)
    return torch.log(table.x1) - torch.log(table.n1 - table.x1) - torch.log(table.x0) + torch.log(table.n0 - table.x0)


def unpooled_variance(table: Table, measure: Measure) -> Tensor:
    """Of the estimate: binomial (difference), Katz (log ratio), Woolf (log odds ratio)."""
    p1, p0 = table.p1, table.p0
    if measure == "difference":
        return p1 * (1.0 - p1) / table.n1 + p0 * (1.0 - p0) / table.n0
    if measure == "ratio":
        return 1.0 / table.x1 - 1.0 / table.n1 + 1.0 / table.x0 - 1.0 / table.n0
    return 1.0 / table.x1 + 1.0 / (table.n1 - table.x1) + 1.0 / table.x0 + 1.0 / (table.n0 - table.x0)


def restricted(table: Table, measure: Measure, null: Tensor) -> tuple[Tensor, Tensor]:
    """p1 and p0 of greatest likelihood among those whose effect is `null` (scale of inference)."""
    x1, n1, x0, n0 = table.x1, table.n1, table.x0, table.n0
    n, x = n1 + n0, x1 + x0
    if measure == "difference":
        # Miettinen and Nurminen's cubic in p0, n p³ + b p² + c p + d = 0, has one root in range.
        b = (n1 + 2.0 * n0) * null - n - x
        c = (n0 * null - n - 2.0 * x0) * null + x
        d = x0 * null * (1.0 - null)
        shift = b / (3.0 * n)
        v = shift * shift * shift - b * c / (6.0 * n * n) + d / (2.0 * n)
        u = torch.where(v >= 0, 1.0, -1.0) * (shift * shift - c / (3.0 * n)).clamp(min=0.0).sqrt()
        cube = u * u * u
        ratio = torch.where(cube.abs() > 1e-300, v / torch.where(cube.abs() > 1e-300, cube, 1.0), 0.0).clamp(-1.0, 1.0)
        angle = (math.pi + torch.arccos(ratio)) / 3.0
        p0 = 2.0 * u * torch.cos(angle) - shift
        low, high = (-null).clamp(min=0.0), (1.0 - null).clamp(max=1.0)
        p0 = torch.minimum(torch.maximum(p0, low), high)
        return (p0 + null).clamp(0.0, 1.0), p0
    if measure == "ratio":
        r = torch.exp(null)
        a, b, c = n * r, n1 * r + x1 + n0 + x0 * r, x
        p0 = 2.0 * c / (b + (b * b - 4.0 * a * c).clamp(min=0.0).sqrt())
        return (p0 * r).clamp(0.0, 1.0), p0.clamp(0.0, 1.0)
    r = torch.exp(null)
    a, b, c = n0 * (r - 1.0), n1 * r + n0 - x * (r - 1.0), -x
    p0 = torch.where(x > 0, -2.0 * c / (b + (b * b - 4.0 * a * c).clamp(min=0.0).sqrt()), 0.0).clamp(0.0, 1.0)
    return p0 * r / (1.0 + p0 * (r - 1.0)), p0


def score(table: Table, measure: Measure, null: Tensor, *, corrected: bool) -> Tensor:
    """The score statistic at an effect of `null`; `corrected`: Miettinen and Nurminen's (N - 1)/N. NaN where 0/0."""
    p1, p0 = restricted(table, measure, null)
    n = table.n1 + table.n0
    v1, v0 = p1 * (1.0 - p1) / table.n1, p0 * (1.0 - p0) / table.n0
    if measure == "difference":
        z = (table.p1 - table.p0 - null) * (v1 + v0).rsqrt()
    elif measure == "ratio":
        r = torch.exp(null)
        z = (table.p1 - r * table.p0) * (v1 + r * r * v0).rsqrt()
    else:
        weight1, weight0 = v1 * table.n1 * table.n1, v0 * table.n0 * table.n0
        z = (table.x1 - table.n1 * p1) * (1.0 / weight1 + 1.0 / weight0).sqrt()
    return z * ((n - 1.0) / n).sqrt() if corrected else z


def score_interval(table: Table, measure: Measure, *, quantile: float, corrected: bool) -> Limits:
    """The effects whose score statistic lies within ± `quantile`; infinite where a ratio has no limit."""
    if measure == "difference":
        edge_low, edge_high = -1.0, 1.0
    else:
        edge_low, edge_high = -FAR, FAR

    def limit(target: float) -> Tensor:
        # The statistic falls as the null value rises.
        low, high = torch.full_like(table.x1, edge_low), torch.full_like(table.x1, edge_high)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            above = score(table, measure, middle, corrected=corrected) > target
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return 0.5 * (low + high)

    low, high = limit(quantile), limit(-quantile)
    if measure == "difference":
        return low, high
    none, everyone = _nothing(table, measure)
    low = torch.where(none | (low < 1e-6 - FAR), -torch.inf, low)
    return low, torch.where(everyone | (high > FAR - 1e-6), torch.inf, high)


def _nothing(table: Table, measure: Measure) -> tuple[Tensor, Tensor]:
    """Where the data do not bound the effect from below, and from above."""
    if measure == "ratio":
        return table.x1 == 0, table.x0 == 0
    return (table.x1 == 0) | (table.x0 == table.n0), (table.x0 == 0) | (table.x1 == table.n1)


def wilson(x: Float[Tensor, "..."], n: Float[Tensor, "..."], *, quantile: float) -> Limits:
    """The score interval of one proportion."""
    p, z2 = x / n, quantile * quantile
    middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = quantile * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n)
    low = torch.where(x == 0, 0.0, middle - half)
    return low, torch.where(x == n, 1.0, middle + half)


def clopper_pearson(x: Float[Tensor, "..."], n: Float[Tensor, "..."], *, alpha_one_sided: float) -> Limits:
    """The exact interval of one proportion: each limit's tail has probability `alpha_one_sided`."""
    successes, total = x.cpu().numpy(), n.cpu().numpy()
    low = special.betaincinv(successes.clip(min=1), total - successes.clip(min=1) + 1.0, alpha_one_sided)
    high = special.betaincinv(successes.clip(max=total - 1) + 1.0, total - successes.clip(max=total - 1), 1.0 - alpha_one_sided)
    return torch.where(x == 0, 0.0, torch.from_numpy(low).to(x.device)), torch.where(x == n, 1.0, torch.from_numpy(high).to(x.device))


def agresti_caffo(table: Table, *, quantile: float) -> Limits:
    """The interval of a difference from one more success and one more failure in each arm."""
    more = Table(table.x1 + 1.0, table.n1 + 2.0, table.x0 + 1.0, table.n0 + 2.0)
    half = quantile * unpooled_variance(more, "difference").sqrt()
    return more.p1 - more.p0 - half, more.p1 - more.p0 + half


def recovered(table: Table, measure: Measure, limits: Callable[[Tensor, Tensor], Limits]) -> Limits:
    """The interval of the effect from intervals of both proportions (MOVER): Newcombe's from Wilson's, on the scale of inference."""
    p1, p0 = table.p1, table.p0
    (l1, u1), (l0, u0) = limits(table.x1, table.n1), limits(table.x0, table.n0)
    if measure == "difference":
        d = p1 - p0
        low = d - ((p1 - l1) * (p1 - l1) + (u0 - p0) * (u0 - p0)).sqrt()
        return low, d + ((u1 - p1) * (u1 - p1) + (p0 - l0) * (p0 - l0)).sqrt()
    if measure == "odds_ratio":
        p1, l1, u1, p0, l0, u0 = (value / (1.0 - value) for value in (p1, l1, u1, p0, l0, u0))
    product = p1 * p0
    low = (product - (product * product - l1 * u0 * (2.0 * p1 - l1) * (2.0 * p0 - u0)).clamp(min=0.0).sqrt()) / (u0 * (2.0 * p0 - u0))
    high = (product + (product * product - u1 * l0 * (2.0 * p1 - u1) * (2.0 * p0 - l0)).clamp(min=0.0).sqrt()) / (l0 * (2.0 * p0 - l0))
    none, everyone = _nothing(table, measure)
    return torch.where(none, -torch.inf, torch.log(low)), torch.where(everyone, torch.inf, torch.log(high))


def counted(value: Tensor, group: Tensor) -> tuple[Table, Tensor]:
    """The table of every replicate of binary values `[replicate, patient]` (NaN: not in the analysis), and who is in it."""
    there = ~torch.isnan(value)
    counts = []
    for arm in (1, 0):
        mine = (there & (group == arm)).to(torch.float64)
        counts += [(mine * torch.where(there, value, 0.0)).sum(-1), mine.sum(-1)]
    return Table(*counts), there
