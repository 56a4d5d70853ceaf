"""Counts given their mean: the inverse Poisson distribution function, and gamma frailties that make them overdispersed.

**Source:** Greenwood & Yule 1920, JRSS 83:255, doi 10.2307/2341080 (gamma-Poisson); Devroye 1986, ch. X.3, ISBN 0387963057.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gammaincinv, pdtr, pdtrik
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.arm_shift import ArmShift, plus
from trialsim.twins.arm_table import Arm
from trialsim.twins.prognosis import LinearPredictor

NEGLIGIBLE = 2.0**-58  # beyond the mean: rounding in the sum of the terms is larger, so the search ends
SEARCHED = 64.0  # means above are inverted by SciPy: the search would take as many steps


def frailty(u: Float[Tensor, "..."], dispersion: float) -> Float[Tensor, "..."]:
    """The gamma variable of mean 1 and variance `dispersion` with distribution function `u`; 1 without dispersion."""
    if dispersion == 0.0:
        return torch.ones_like(u)
    drawn = gammaincinv(1.0 / dispersion, u.cpu().numpy()) * dispersion
    return torch.from_numpy(drawn).to(u.device)


def poisson_quantile(u: Float[Tensor, "..."], mean: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The smallest k with P(Poisson(mean) <= k) >= u, elementwise; 0 where the mean is 0. Means may be as large as 1e8."""
    u, mean = torch.broadcast_tensors(u, mean)
    high = mean > SEARCHED
    small = torch.where(high, 0.0, mean)
    k = torch.zeros_like(small)
    term = small.neg().exp()
    reached, step = term.clone(), 0
    while True:
        above = (u > reached) & ((term > NEGLIGIBLE) | (small > step))
        if not bool(above.any()):
            break
        k += above
        step += 1
        term = term * small / step
        reached = reached + term
    if bool(high.any()):
        k[high] = torch.from_numpy(_by_scipy(u[high].cpu().numpy(), mean[high].cpu().numpy())).to(u.device)
    return k


def _by_scipy(u: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Inverse by root finding, then made exact: the neighbour below is taken where it suffices."""
    k = np.ceil(pdtrik(u, mean))
    below = np.maximum(k - 1.0, 0.0)
    return np.where(pdtr(below, mean) >= u, below, k)


class CountValue:
    """A count with mean exp(predictor) times a frailty: Poisson given both. Index 0 of the noise is the count's, 1 the frailty's."""

    noise = "uniform"

    def __init__(self, *, log_mean: float, dispersion: float, predictor: LinearPredictor, shift: ArmShift):
        self.log_mean, self.dispersion, self.predictor, self.shift = log_mean, dispersion, predictor, shift

    def expected(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The log of the expected count under the reference process."""
        return plus(self.predictor(cohort), 0.0, self.log_mean)

    def mean(self, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The expected count under `arm`; of shape [1, 1] where it is the same for everyone."""
        return plus(self.predictor(cohort), self.shift.of(cohort, arm), self.log_mean).exp()

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The count of every patient under `arm`."""
        u = stream.uniform(block, n)
        mean = self.mean(cohort, arm).to(u.device)
        if self.dispersion > 0.0:
            mean = mean * frailty(stream.uniform(block, n, index=1), self.dispersion)
        return poisson_quantile(u, mean)

    def same(self, arm: int, reference: int) -> bool:
        return self.shift.same(arm, reference)
