"""Rubin's rules: one estimate and standard error from those of several imputations.

With estimates Q_j, squared standard errors U_j, j = 1..m: Q = mean Q_j, W = mean U_j, B = the variance of the Q_j,
T = W + (1 + 1/m) B, and with lambda = (1 + 1/m) B / T, nu the degrees of freedom of the complete data:

    1/df = 1/nu_m + 1/nu_obs,   nu_m = (m - 1) / lambda^2,   nu_obs = (nu + 1) / (nu + 3) nu (1 - lambda).

**Source:** Rubin 1987, section 3.3 (doi 10.1002/9780470316696); Barnard & Rubin 1999 (doi 10.1093/biomet/86.4.948).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pooled:
    """Estimate, standard error and degrees of freedom (infinite where nothing is missing and the complete data have none)."""

    estimate: Float[Tensor, "replicate"]
    std_error: Float[Tensor, "replicate"]
    df: Float[Tensor, "replicate"]


def rubin(estimates: Float[Tensor, "replicate imputation"], std_errors: Float[Tensor, "replicate imputation"], df: Float[Tensor, "replicate"] | None) -> Pooled:
    """Pool over imputations; `df` of the complete data, None: infinite."""
    m = estimates.shape[-1]
    estimate = estimates.sum(-1) / m
    within = (std_errors * std_errors).sum(-1) / m
    deviation = estimates - estimate[:, None]
    between = (1 + 1 / m) * (deviation * deviation).sum(-1) / (m - 1)
    total = within + between
    share = torch.where(total > 0, between / total, torch.zeros_like(total))
    nothing = share <= 1e-14
    over_imputations = torch.where(nothing, torch.zeros_like(share), share * share / (m - 1))
    of_data = torch.zeros_like(share) if df is None else 1 / ((df + 1) / (df + 3) * df * (1 - share))
    inverse = over_imputations + of_data
    if df is not None:
        inverse = torch.where(nothing, 1 / df, inverse)
    return Pooled(estimate=estimate, std_error=total.sqrt(), df=1 / inverse)
