"""Gray's score of K arms' cumulative incidences of one cause, and its covariance.

For arm k with Y_k at risk, S_k the Kaplan-Meier estimate of no event and F_k the cumulative incidence just before the time,

    z_k = Σ [ d_k - d R_k/R ],   R_k = Y_k (1 - F_k)/S_k,   R = Σ R_k,   d = Σ d_k events of the cause:

the log-rank score of the subdistribution, with risk sets reconstructed arm by arm. With t_k = Y_k/S_k, T = Σ t_k, the common incidence
F (increments d/T), a_jk = t_k (1{j=k} - t_j/T), c_jk the sum of a_jk d/(T (1 - F-)) from a time on (exclusive), the covariance is

    V_ij = Σ_k Σ [ u_ik u_jk S_k d/(T Y_k) τ + v_ik v_jk S_k² e_k/Y_k² τ' ],
    u_ik = a_ik + (1 - (1 - F)/S_k) c_ik (event of the cause),   v_ik = -(1 - F)/S_k c_ik (e_k events of other causes in arm k),

F and S_k after the time in u and v; τ = 1 - (d - 1)/(T S_k - 1) and τ' = 1 - (e_k - 1)/(Y_k - 1) correct for ties, as cmprsk does. Weights
over time (rho) are not offered: every event counts alike.

**Source:** Gray 1988 (doi 10.1214/aos/1176350951), sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.cause_table import CauseTable, cause_table
from trialsim.analysis.normal_equations import dot, factorise
from trialsim.records import EventData


@dataclass(frozen=True, slots=True)
class GrayScore:
    """Scores of the arms 1, 2, … (observed minus expected events) and their covariance, summed over strata."""

    score: Float[Tensor, "arm replicate"]
    covariance: Float[Tensor, "arm arm replicate"]

    def chi_square(self) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """The statistic of equality of all arms and its degrees of freedom (the rank of the covariance)."""
        factor = factorise(self.covariance)
        return dot(self.score, factor.solve(self.score)), (factor.pivots > 0).sum(0).to(torch.float64)


def gray_score(data: EventData) -> GrayScore:
    """The score of every replicate."""
    if data.stratum is None or data.n_strata == 1:
        return _of(cause_table(data))
    parts = [_of(cause_table(data, stratum)) for stratum in range(data.n_strata)]
    score, covariance = parts[0].score, parts[0].covariance
    for part in parts[1:]:
        score, covariance = score + part.score, covariance + part.covariance
    return GrayScore(score, covariance)


def _of(table: CauseTable) -> GrayScore:
    y, d, e = table.at_risk, table.cause, table.other
    safe = y.clamp(min=1.0)
    after = ((safe - d - e) / safe).cumprod(-1)
    before = _shift(after, 1.0)
    incidence = (before * d / safe).cumsum(-1)
    # Once an arm is empty (Y = 0) it takes no part, whatever S is.
    t = torch.where(before > 0, y / before, 0.0)
    r = t * (1.0 - _shift(incidence, 0.0))
    events, total, total_r = _add(d), _add(t), _add(r)
    events_at = events > 0
    share = torch.where(events_at & (total_r > 0), events / total_r, 0.0)
    score = (d - share * r).sum(-1)[1:]
    jump = torch.where(events_at & (total > 0), events / total, 0.0)
    pooled = jump.cumsum(-1)
    free = (1.0 - pooled).clamp(min=0.0)
    free_before = _shift(free, 1.0)
    hazard = torch.where(free_before > 0, jump / free_before, 0.0)
    remaining = torch.where(after > 0, free / after, 0.0)
    p = torch.where(total > 0, 1.0 / total, 0.0)
    n_groups = len(y)
    u_weight = before * jump / safe * _ties(events, total * before) * (y > 0)
    v_weight = before * before * e / (safe * safe) * _ties(e, y)
    v_weight = torch.where(after > 0, v_weight, 0.0)
    covariance = torch.zeros((n_groups - 1, n_groups - 1, y.shape[1]), dtype=y.dtype, device=y.device)
    for k in range(n_groups):
        u, v = [], []
        for j in range(1, n_groups):
            a = t[k] * ((1.0 if j == k else 0.0) - t[j] * p)
            steps = (a * hazard).cumsum(-1)
            c = steps[:, -1:] - steps
            u.append(a + torch.where(after[k] > 0, 1.0 - remaining[k], 1.0) * c)
            v.append(-remaining[k] * c)
        for i in range(n_groups - 1):
            for j in range(i + 1):
                covariance[i, j] += (u[i] * u[j] * u_weight[k] + v[i] * v[j] * v_weight[k]).sum(-1)
    return GrayScore(score, covariance)


def _ties(events: Tensor, n: Tensor) -> Tensor:
    """1 - (d - 1)/(n - 1) where more than one event is tied."""
    return torch.where(events > 1, 1.0 - (events - 1.0) / torch.where(n > 1, n - 1.0, torch.inf), 1.0)


def _shift(curve: Tensor, start: float) -> Tensor:
    """The curve just before each rank."""
    return torch.cat([torch.full_like(curve[..., :1], start), curve[..., :-1]], dim=-1)


def _add(parts: Float[Tensor, "group replicate rank"]) -> Float[Tensor, "replicate rank"]:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
