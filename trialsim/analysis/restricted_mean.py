"""Restricted mean survival time: the area under each arm's Kaplan-Meier curve up to tau, with its variance.

    μ = ∫_0^τ S(t) dt,   Var μ = Σ_{t_i <= τ} (∫_{t_i}^τ S(t) dt)² d / (n (n - d)),

as `survRM2`. Where S falls to 0 the area beyond is 0.

**Source:** Irwin 1949 (doi 10.1017/S0022172400014443); Uno et al. 2014 (doi 10.1200/JCO.2014.55.2208).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.kaplan_meier import Curves


def restricted_mean(curves: Curves, tau: Float[Tensor, "replicate"]) -> tuple[Float[Tensor, "group replicate"], Float[Tensor, "group replicate"]]:
    """Mean (days) and variance of every arm; the curve is taken to stay where follow-up ends (see `Curves.ends`)."""
    end = tau[:, None]
    until = torch.minimum(curves.time, end)
    width = torch.diff(until, dim=-1, prepend=torch.zeros_like(end))
    area = curves.before * width
    running = area.cumsum(-1)
    mean = running[..., -1] + curves.survival[..., -1] * (end - until[:, -1:])[:, 0]
    rest = torch.where(curves.time <= end, mean[..., None] - running, 0.0)
    return mean, (rest * rest * curves.steps).sum(-1)


def default_tau(curves: Curves) -> Float[Tensor, "replicate"]:
    """The smaller of the longest follow-up times of the reference arm and the test arm."""
    return torch.minimum(curves.last_time[0], curves.last_time[1])
