"""The proportional-odds model of an ordinal value by maximum likelihood, many replicates at a time.

    log odds P(y ≤ k) = ζ_k - x'b,   k = 0 … K - 2:   a positive coefficient goes with higher categories.

With u, l the predictors at the upper and lower threshold of a patient's category, F the logistic law, f its density and
π = F(u) - F(l): ∂ log π/∂u = f(u)/π, ∂ log π/∂l = -f(l)/π, ∂² log π/∂(x'b)² = -(f(u) + f(l)). Newton's method on the observed
information (see `newton`; log L is concave). Categories that a replicate does not have are left out of it.

**Source:** McCullagh 1980 (doi 10.1111/j.2517-6161.1980.tb01109.x); signs as `MASS::polr`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis import newton
from trialsim.analysis.normal_equations import Factor, combined, factorise

TINY = 1e-300


@dataclass(frozen=True, slots=True)
class OrdinalDesign:
    """Columns without the constant, the arm last (zero for patients not in the analysis), and categories 0 … `n_levels` - 1."""

    x: Float[Tensor, "column replicate patient"]
    level: Int[Tensor, "replicate patient"]
    there: Bool[Tensor, "replicate patient"]
    n_levels: Int[Tensor, "replicate"]

    def rows(self, which: Tensor) -> OrdinalDesign:
        """Some replicates."""
        return OrdinalDesign(self.x[:, which], self.level[which], self.there[which], self.n_levels[which])


@dataclass(frozen=True, slots=True)
class OrdinalFit:
    """Coefficients, thresholds after them, and the factor of the information with thresholds first and the arm last."""

    coefficients: Float[Tensor, "column replicate"]
    thresholds: Float[Tensor, "threshold replicate"]
    factor: Factor
    log_likelihood: Float[Tensor, "replicate"]
    converged: Bool[Tensor, "replicate"]

    @property
    def variance(self) -> Float[Tensor, "replicate"]:
        """Of the arm's coefficient."""
        return self.factor.inverse[-1]


def levels_of(value: Float[Tensor, "replicate patient"], there: Bool[Tensor, "replicate patient"]) -> tuple[Tensor, Int[Tensor, "replicate"]]:
    """Each value as its place among the replicate's values, and how many different ones the replicate has."""
    whole = torch.where(there, value, 0.0).to(torch.int64)
    lowest = int(whole.min())
    size = int(whole.max()) - lowest + 1
    seen = torch.zeros((len(value), size), dtype=torch.int64, device=value.device)
    seen.scatter_reduce_(1, whole - lowest, there.to(torch.int64), reduce="amax")
    place = seen.cumsum(-1) - 1
    return place.gather(-1, whole - lowest).clamp(min=0), seen.sum(-1)


@dataclass(frozen=True, slots=True)
class _ProportionalOdds:
    """The log-likelihood of thresholds (first) and coefficients, as `newton.Likelihood`."""

    design: OrdinalDesign
    n_thresholds: int

    def at(self, coefficients: Float[Tensor, "parameter replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """See `newton.Likelihood`."""
        return _derivatives(self.design, coefficients, self.n_thresholds)

    def rows(self, which: Tensor) -> _ProportionalOdds:
        """Some replicates."""
        return _ProportionalOdds(self.design.rows(which), self.n_thresholds)


def maximise_ordinal(design: OrdinalDesign) -> OrdinalFit:
    """The maximum, from the observed shares and zeros."""
    n_thresholds = max(int(design.n_levels.max()) - 1, 1)
    start = torch.cat([_start(design, n_thresholds), torch.zeros(design.x.shape[:2], dtype=torch.float64, device=design.x.device)])
    found = newton.maximise(_ProportionalOdds(design, n_thresholds), start, stopping=newton.REGRESSION)
    log_likelihood, _, information = _derivatives(design, found.coefficients, n_thresholds)
    return OrdinalFit(
        coefficients=found.coefficients[n_thresholds:],
        thresholds=found.coefficients[:n_thresholds],
        factor=factorise(information),
        log_likelihood=log_likelihood,
        converged=found.converged,
    )


def _start(design: OrdinalDesign, n_thresholds: int) -> Float[Tensor, "threshold replicate"]:
    n = design.there.sum(-1).to(torch.float64)
    below = [(design.there & (design.level <= k)).sum(-1).to(torch.float64) for k in range(n_thresholds)]
    return torch.stack([torch.where(share < n, torch.log(share / (n - share)), 0.0) for share in below])


def _derivatives(design: OrdinalDesign, at: Float[Tensor, "parameter replicate"], n_thresholds: int) -> tuple[Tensor, Tensor, Tensor]:
    """log L, its gradient and minus its Hessian at thresholds (first) and coefficients."""
    thresholds, coefficients = at[:n_thresholds], at[n_thresholds:]
    x, level, there = design.x, design.level, design.there
    eta = combined(coefficients, x)
    by_patient = torch.cat([torch.full_like(thresholds[:1], -torch.inf), thresholds, torch.full_like(thresholds[:1], torch.inf)]).T.contiguous()
    is_top = level == (design.n_levels - 1)[:, None]
    upper = torch.where(is_top, torch.inf, by_patient.gather(-1, level + 1) - eta)
    lower = by_patient.gather(-1, level) - eta
    (above, density_up), (below, density_low) = _logistic(upper), _logistic(lower)
    # F(u) - F(l), from the tail where both are small
    probability = torch.where(lower > 0, _tail(lower) - _tail(upper), above - below).clamp(min=TINY)
    log_likelihood = torch.where(there, torch.log(probability), 0.0).sum(-1)
    up, low = density_up / probability, density_low / probability
    # second derivatives: f' = f (1 - 2F)
    up_up = torch.where(there, up * (1.0 - 2.0 * above) - up * up, 0.0)
    low_low = torch.where(there, -low * (1.0 - 2.0 * below) - low * low, 0.0)
    up_low = torch.where(there, up * low, 0.0)
    up, low = torch.where(there, up, 0.0), torch.where(there, low, 0.0)
    slope = low - up  # of log π in the linear predictor
    p = n_thresholds + len(x)
    information = torch.zeros((p, p, x.shape[1]), dtype=torch.float64, device=x.device)
    score = torch.zeros((p, x.shape[1]), dtype=torch.float64, device=x.device)
    for k in range(n_thresholds):
        is_upper, is_lower = level == k, level == k + 1
        score[k] = (up * is_upper).sum(-1) - (low * is_lower).sum(-1)
        information[k, k] = -(up_up * is_upper).sum(-1) - (low_low * is_lower).sum(-1)
        if k:
            information[k, k - 1] = -(up_low * is_upper).sum(-1)
        cross = (up_up + up_low) * is_upper + (low_low + up_low) * is_lower
        information[n_thresholds:, k] = (cross * x).sum(-1)
    weight = torch.where(there, density_up + density_low, 0.0)
    for j, column in enumerate(x):
        score[n_thresholds + j] = (slope * column).sum(-1)
        information[n_thresholds + j, n_thresholds : n_thresholds + j + 1] = (weight * column * x[: j + 1]).sum(-1)
    for k in range(n_thresholds):  # thresholds of categories that the replicate does not have
        unused = k >= design.n_levels - 1
        information[:, k] = torch.where(unused, 0.0, information[:, k])
        information[k, :] = torch.where(unused, 0.0, information[k, :])
        score[k] = torch.where(unused, 0.0, score[k])
    return log_likelihood, score, information


def _logistic(z: Tensor) -> tuple[Tensor, Tensor]:
    """F and f."""
    tail = torch.exp(-z.abs())
    larger = 1.0 / (1.0 + tail)
    return torch.where(z >= 0, larger, tail * larger), tail * larger * larger


def _tail(z: Tensor) -> Tensor:
    """1 - F, for positive arguments."""
    tail = torch.exp(-z.abs())
    return tail / (1.0 + tail)
