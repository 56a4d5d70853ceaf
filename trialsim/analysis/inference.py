"""From Estimates to z on the normal scale, p-values and confidence intervals.

A statistic with degrees of freedom is put on the normal scale through its p-value, z = Φ⁻¹(F_t(t; df)), from the tail on
its own side, so that large statistics keep their digits. Where that tail underflows (beyond |z| of about 37) Wallace's
approximation takes over: z = ± (8 df + 1)/(8 df + 3) √(df log(1 + t²/df)).

**Source:** Wallace 1959 (doi 10.1214/aoms/1177706065) for the far tail; SciPy for the distribution functions.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

from trialsim.records import Estimates

UNDERFLOW = 1e-300


def normal_statistic(estimates: Estimates) -> Float[Tensor, "replicate"]:
    """The statistic on the normal scale, positive when it favours the test arm; NaN where the analysis failed."""
    if estimates.df is None:
        return estimates.statistic
    t, df = estimates.statistic.cpu().numpy(), estimates.df.cpu().numpy()
    size = np.abs(t)
    tail = special.stdtr(df, -size)
    far = tail < UNDERFLOW
    z = -special.ndtri(np.where(far, 0.5, tail))
    z = np.where(far, (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(size * size / df)), z)
    return torch.from_numpy(np.copysign(z, t)).to(estimates.statistic.device)


def p_value(estimates: Estimates, *, sides: int) -> Float[Tensor, "replicate"]:
    """One-sided: the probability of a statistic at least as favourable to the test arm. Two-sided: at least as large."""
    statistic = estimates.statistic.cpu().numpy()
    tail = -np.abs(statistic) if sides == 2 else -statistic
    below = special.ndtr(tail) if estimates.df is None else special.stdtr(estimates.df.cpu().numpy(), tail)
    return torch.from_numpy(np.asarray(sides * below)).to(estimates.statistic.device)


def confidence_interval(estimates: Estimates, *, alpha_one_sided: float) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]] | None:
    """Limits at level 1 - 2 alpha_one_sided on the scale of inference; None where the method estimates nothing."""
    if estimates.ci_low is not None and estimates.ci_high is not None:
        return estimates.ci_low, estimates.ci_high
    if estimates.estimate is None or estimates.std_error is None:
        return None
    if estimates.df is None:
        quantile: float | Tensor = -float(special.ndtri(alpha_one_sided))
    else:
        quantile = torch.from_numpy(-special.stdtrit(estimates.df.cpu().numpy(), alpha_one_sided)).to(estimates.estimate.device)
    half = quantile * estimates.std_error
    return estimates.estimate - half, estimates.estimate + half
