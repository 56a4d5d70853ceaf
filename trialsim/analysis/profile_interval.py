"""The profile-likelihood interval of the arm's coefficient: the values that the likelihood-ratio test does not reject.

The limits b solve 2 (log L(b̂) - log L_p(b)) = q², with L_p(b) the largest likelihood over the covariates' coefficients when the
arm's is held at b. The slope of log L_p is the arm's score there, so Newton's step is exact; the profile is concave, so the
steps approach from outside. A side on which the likelihood does not fall that far has no limit: it is infinite.

**Source:** Venzon & Moolgavkar 1988 (doi 10.2307/2347496).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.partial_likelihood import Maximum, maximise
from trialsim.analysis.risk_sets import RiskSets

MAX_ITERATIONS = 60
CLOSE = 1e-9
"""On the scale of q²."""
FAR = 50.0
"""Standard errors away from the estimate: no limit."""


def profile_limits(
    x: Float[Tensor, "column replicate rank"], there: Tensor, risk: RiskSets, full: Maximum, *, quantile: float
) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """Lower and upper limit of the last coefficient; NaN where the likelihood has no maximum."""
    step = quantile * full.point.pivots[-1].rsqrt()
    low, high = (_limit(x, there, risk, full, side * step, quantile) for side in (-1.0, 1.0))
    return low, high


def _limit(x: Tensor, there: Tensor, risk: RiskSets, full: Maximum, step: Tensor, quantile: float) -> Float[Tensor, "replicate"]:
    estimate, side = full.coefficients[-1], torch.sign(step)
    limit = torch.full_like(estimate, torch.nan)
    live = (full.converged & torch.isfinite(step)).nonzero()[:, 0]
    start = full.coefficients[:, live].clone()
    start[-1] = (estimate + step)[live]
    for _ in range(MAX_ITERATIONS):
        if not len(live):
            break
        held = maximise(x[:, live], there[live], risk.rows(live), arm_free=False, start=start)
        excess = 2.0 * (full.point.log_likelihood[live] - held.point.log_likelihood) - quantile * quantile
        found = excess.abs() < CLOSE
        move = excess / (2.0 * held.point.score[-1])
        reached = start[-1] + move
        # On a flat likelihood the slope says nothing more.
        lost = ~found & ~((reached - estimate[live]).abs() < FAR * (step[live].abs() / quantile))
        limit[live] = torch.where(found, start[-1], torch.where(lost, side[live] * torch.inf, limit[live]))
        keep = ~(found | lost)
        start = held.coefficients[:, keep]
        start[-1] = reached[keep]
        live = live[keep]
    return limit
