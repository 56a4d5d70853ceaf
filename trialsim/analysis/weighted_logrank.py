"""Weighted log-rank scores and their covariances, for one or several weights and any scores of the arms.

At each distinct event time with d events (d_g in arm g) among n at risk (n_g in arm g), with arm scores s_g (0 and 1 for
reference and test) and weights w_k,

    U_k  = Σ w_k (Σ_g s_g d_g - d e),   e = Σ_g s_g n_g / n,
    V_kl = Σ w_k w_l d (n - d)/(n - 1) (Σ_g s_g² n_g / n - e²),

the hypergeometric covariance, ties or no ties; both are summed over strata, with the weights of each stratum from its own
pooled Kaplan-Meier estimate.

**Source:** Fleming & Harrington 1991, chapter 7 (doi 10.1002/9781118150672); Tarone 1975 (trend; doi 10.1093/biomet/62.3.679);
Karrison 2016 (covariances; doi 10.1177/1536867X1601600308).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.cause_table import CauseTable, cause_table
from trialsim.records import EventData


@runtime_checkable
class Weight(Protocol):
    """A weight over time; see `event_weights`."""

    def weight(self, survival: Tensor, before: Tensor, time: Tensor) -> Float[Tensor, "replicate rank"]: ...


@dataclass(frozen=True, slots=True)
class WeightedScores:
    """U of every weight and the covariances between them under the null hypothesis."""

    u: Float[Tensor, "weight replicate"]
    covariance: Float[Tensor, "weight weight replicate"]


def weighted_scores(data: EventData, weights: Sequence[Weight | None], *, scores: Sequence[float] = (0.0, 1.0)) -> WeightedScores:
    """The scores of every replicate for each weight (None: all events alike). `scores` has one number per arm, the reference first."""
    # A competing event ends follow-up like a censoring.
    data = EventData(data.time, data.event & (data.time >= 0), data.group, data.stratum, data.n_strata, n_groups=len(scores))
    levels = range(data.n_strata) if data.stratum is not None and data.n_strata > 1 else (None,)
    found = [_one_stratum(cause_table(data, level), weights, scores) for level in levels]
    u, covariance = found[0]
    for more_u, more_covariance in found[1:]:
        u, covariance = u + more_u, covariance + more_covariance
    return WeightedScores(u=u, covariance=covariance)


def _one_stratum(table: CauseTable, weights: Sequence[Weight | None], scores: Sequence[float]) -> tuple[Tensor, Tensor]:
    n, d = table.at_risk.sum(0), table.cause.sum(0)
    at_least_one = n.clamp(min=1.0)
    scored = expected = squared = torch.zeros_like(n)
    for score, events, at_risk in zip(scores, table.cause, table.at_risk, strict=True):
        if score == 0:
            continue
        share = at_risk / at_least_one
        scored, expected, squared = scored + score * events, expected + score * share, squared + score * score * share
    excess = scored - d * expected
    variance = d * ((n - d) / (n - 1.0).clamp(min=1.0)) * (squared - expected * expected)
    survival = (1.0 - d / at_least_one).cumprod(-1)
    before = torch.cat([torch.ones_like(survival[:, :1]), survival[:, :-1]], dim=-1)
    each = [None if weight is None else weight.weight(survival, before, table.time) for weight in weights]
    u = torch.stack([(excess if w is None else w * excess).sum(-1) for w in each])
    weighted = [variance if w is None else w * variance for w in each]
    half = [[(weighted[k] if w is None else w * weighted[k]).sum(-1) for w in each[: k + 1]] for k in range(len(each))]
    return u, torch.stack([torch.stack([half[max(k, l)][min(k, l)] for l in range(len(each))]) for k in range(len(each))])
