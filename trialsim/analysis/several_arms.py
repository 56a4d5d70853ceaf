"""The log-rank test that several arms have the same hazard, against any difference.

With O_g and E_g the observed and expected events of arm g and V their hypergeometric covariance (summed over strata),

    V_gh = Σ d (n - d)/(n - 1) (n_g/n)(1{g = h} - n_h/n),   χ² = (O - E)' V⁻ (O - E),

V⁻ a generalised inverse: the last arm is redundant, and an arm that was never at risk beside another drops out. χ² has as
many degrees of freedom as V has rank (arms - 1 when all take part). As `survival::survdiff`, ties included.

**Source:** Kalbfleisch & Prentice 2002, section 1.5 (doi 10.1002/9781118032985).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.cause_table import cause_table
from trialsim.records import EventData

SMALL_PIVOT = 1e-10  # relative to the diagonal


def several_arms(data: EventData) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """χ², its degrees of freedom and p-value; NaN, 0, NaN where no arm can be compared (no events, or all patients in one arm)."""
    data = EventData(data.time, data.event & (data.time >= 0), data.group, data.stratum, data.n_strata, n_groups=data.n_groups)
    levels = range(data.n_strata) if data.stratum is not None and data.n_strata > 1 else (None,)
    tables = [cause_table(data, level) for level in levels]
    k = data.n_groups - 1
    u = [_sum([_excess(table.cause, table.at_risk, g) for table in tables]) for g in range(1, k + 1)]
    v = [[_sum([_covariance(table.cause, table.at_risk, g, h) for table in tables]) for h in range(1, g + 1)] for g in range(1, k + 1)]
    chi_square, df = quadratic_form(torch.stack(u), torch.stack([torch.stack([v[max(g, h)][min(g, h)] for h in range(k)]) for g in range(k)]))
    chi_square = torch.where(df > 0, chi_square, torch.nan)
    return chi_square, df, torch.special.gammaincc(0.5 * df.clamp(min=1.0), 0.5 * chi_square)


def _sum(parts: list[Tensor]) -> Tensor:
    """The sum, in order."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _excess(events: Float[Tensor, "group replicate rank"], at_risk: Float[Tensor, "group replicate rank"], g: int) -> Float[Tensor, "replicate"]:
    return (events[g] - events.sum(0) * (at_risk[g] / at_risk.sum(0).clamp(min=1.0))).sum(-1)


def _covariance(events: Tensor, at_risk: Tensor, g: int, h: int) -> Float[Tensor, "replicate"]:
    n, d = at_risk.sum(0), events.sum(0)
    at_least_one = n.clamp(min=1.0)
    share = at_risk[h] / at_least_one
    other = 1.0 - share if g == h else -share
    return (d * ((n - d) / (n - 1.0).clamp(min=1.0)) * (at_risk[g] / at_least_one) * other).sum(-1)


def quadratic_form(
    u: Float[Tensor, "column replicate"], v: Float[Tensor, "column column replicate"]
) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """u' V⁻ u and the rank of V, by elimination without the columns whose pivot is zero."""
    u, v = u.clone(), v.clone()
    diagonal = torch.stack([v[j, j] for j in range(len(u))])
    form, rank = torch.zeros_like(u[0]), torch.zeros_like(u[0])
    for j in range(len(u)):
        sound = v[j, j] > SMALL_PIVOT * diagonal[j].clamp(min=1e-300)
        inverse = torch.where(sound, 1.0 / v[j, j], 0.0)
        form = form + u[j] * u[j] * inverse
        rank = rank + sound
        factor = v[j + 1 :, j] * inverse
        u[j + 1 :] = u[j + 1 :] - factor * u[j]
        v[j + 1 :, j + 1 :] = v[j + 1 :, j + 1 :] - factor[:, None] * v[j, j + 1 :][None]
    return form, rank
