"""Negative-binomial regression of a count on the arm and covariates: the rate ratio under gamma heterogeneity.

    log E y = log exposure + b0 + covariates + b arm,   Var y = μ + k μ²,

b and k jointly by maximum likelihood; SE of b from the expected information given k (k is orthogonal to b), z = b/se.
`dispersion: reml` maximises instead the likelihood of k with Cox and Reid's adjustment -½ log |X'WX| at the b that is best
for each k, which takes off most of the bias of a small trial. Where the likelihood of k falls from 0 on (counts no more
variable than Poisson's) k is 0 and the fit is Poisson's. `marginal: true` is g-computation, as in `poisson`.

Several test arms are levels of one model with one k. Patients with a missing value or covariate, or without exposure, are
left out. Fails without an event, or without one in either arm.

**Source:** Lawless 1987 (doi 10.2307/3314912); dispersion as in Venables & Ripley 2002, section 7.4
(`MASS::glm.nb`, θ = 1/k; doi 10.1007/978-0-387-21706-2); Cox & Reid 1987 (doi 10.1111/j.2517-6161.1987.tb01422.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from trialsim.analysis.failures import fail
from trialsim.analysis.linear_predictor import Design, Fit, Log, design_of
from trialsim.analysis.methods.poisson import CountRegression, count_failures, poisson_fit
from trialsim.analysis.normal_equations import Factor, combined, dot, factorise, weighted_products
from trialsim.analysis.standardisation import marginal_effect
from trialsim.records import Estimates, ValueData

MAX_ITERATIONS = 60
SMALL_DECREMENT = 1e-18
NO_DISPERSION = 1e-9
WIDTH = 64  # of the sums over counts, so that they do not depend on the largest count of a block
NEAR = 0.02  # below, power series
STEADY = 1e-5  # a smaller move says nothing new about the bend


class NegativeBinomial(CountRegression):
    """Negative-binomial regression of a count; see the module."""

    method: Literal["negative_binomial"] = Field(description="Negative-binomial regression.")
    dispersion: Literal["ml", "reml"] = Field(default="ml", description="Dispersion by maximum likelihood, or by Cox and Reid's adjusted likelihood.")

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log rate ratio, or the marginal effect; see `Analysis.estimate`."""
        design = design_of(data)
        found = negative_binomial_fit(design, adjusted=self.dispersion == "reml")
        if self.marginal:
            estimate, std_error = marginal_effect(Log(), design, found.fit, measure=self.measure, robust=True)
        else:
            estimate, std_error = found.fit.coefficients[-1], found.fit.variance.sqrt()
        failure = count_failures(design, found.fit, found.fit.converged)
        estimate, std_error = fail(failure, estimate, std_error)
        return Estimates(
            statistic=favours * estimate / std_error,
            n=design.n.to(torch.int64),
            failure=failure,
            n_events=design.y.sum(-1).to(torch.int64),
            estimate=estimate,
            std_error=std_error,
        )


@dataclass(frozen=True, slots=True)
class NegativeBinomialFit:
    """The regression and its dispersion k (0: Poisson's)."""

    fit: Fit
    dispersion: Float[Tensor, "replicate"]


def likelihood_of(found: NegativeBinomialFit, design: Design) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """log L at the fit, and the observed information of k at these coefficients; the variance of θ = 1/k is 1/(k⁴ information)."""
    k, tails, eta = found.dispersion, _tails(design.y), design.eta(found.fit.coefficients)
    mu = torch.exp(eta) * design.there
    log_likelihood = _log_likelihood(k, mu, design.y, tails) + (design.y * eta).sum(-1) - torch.lgamma(design.y + 1.0).sum(-1)
    return log_likelihood, -_slope(k, mu, 1.0 + k[:, None] * mu, design.y, tails)[1]


def negative_binomial_fit(design: Design, *, adjusted: bool = False) -> NegativeBinomialFit:
    """The joint maximum over coefficients and dispersion, or over the adjusted likelihood of the dispersion."""
    poisson = poisson_fit(design)
    mu = torch.exp(design.eta(poisson.coefficients)) * design.there
    excess = ((design.y - mu) * (design.y - mu) - design.y).sum(-1)
    score = 0.5 * excess
    if adjusted:
        drift = poisson.factor.solve((design.x * (mu * (mu - design.y))).sum(-1))
        score = score + _adjustment(poisson.factor, design, torch.ones_like(mu), mu, drift)
    total = design.y.sum(-1)
    free = poisson.converged & (score > 0) & (total > 0)
    coefficients, k = poisson.coefficients.clone(), torch.zeros_like(total)
    converged = poisson.converged & ~free
    if free.any():
        live = free.nonzero()[:, 0]
        start = (2.0 * score / (mu * mu).sum(-1)).clamp(min=1e-3)[live]
        found = _joint(design.rows(live), _tails(design.y[live]), coefficients[:, live], start, adjusted=adjusted)
        coefficients[:, live], k[live], converged[live] = found
    mu = torch.exp(design.eta(coefficients)) * design.there
    spread = 1.0 + k[:, None] * mu
    fit = Fit(
        coefficients=coefficients,
        factor=factorise(weighted_products(design.x, mu / spread)),
        residual=(design.y - mu) / spread,
        converged=converged,
    )
    return NegativeBinomialFit(fit=fit, dispersion=k)


def _joint(
    design: Design, tails: Tensor, coefficients: Tensor, k: Tensor, *, adjusted: bool
) -> tuple[Float[Tensor, "column row"], Float[Tensor, "row"], Bool[Tensor, "row"]]:
    """Newton's steps in coefficients and log k together, each replicate to its own rest.

    With J the observed information of b, c = ∂²log L/∂b∂k and d = J⁻¹c the drift of b with k, elimination of b leaves the slope
    s_k + d's_b and the bend l_kk + c'd of the profile; the bend of the adjustment is its secant.
    """
    last_b, last_k, converged = coefficients.clone(), k.clone(), torch.zeros(len(k), dtype=torch.bool, device=k.device)
    live = torch.arange(len(k), device=k.device)
    move = before = secant = torch.zeros_like(k)
    for _ in range(MAX_ITERATIONS):
        mu = torch.exp(design.eta(coefficients)) * design.there
        spread = 1.0 + k[:, None] * mu
        residual, weight = (design.y - mu) / spread, mu / spread
        observed = factorise(weighted_products(design.x, weight * (1.0 + k[:, None] * design.y) / spread))
        score, mixed = (design.x * residual).sum(-1), (design.x * (-residual * weight)).sum(-1)
        step, drift = observed.solve(score), observed.solve(mixed)
        slope, curvature = _slope(k, mu, spread, design.y, tails)
        slope, curvature = slope + dot(score, drift), curvature + dot(mixed, drift)
        slope, bend = k * slope, k * k * curvature + k * slope
        if adjusted:
            extra = k * _adjustment(factorise(weighted_products(design.x, weight)), design, spread, weight, drift)
            secant = torch.where(move.abs() > STEADY, (extra - before) / move, secant)
            slope, bend, before = slope + extra, torch.where(bend + secant < 0, bend + secant, bend), extra
        concave = bend < 0
        move = torch.where(concave, -slope / bend, torch.sign(slope) * 0.5).clamp(-1.0, 1.0)
        rest = (dot(score, step) < SMALL_DECREMENT) & (slope * move < SMALL_DECREMENT) & concave
        coefficients, k = coefficients + step + drift * (k * move), k * torch.exp(move)
        gone = (k < NO_DISPERSION) | torch.isnan(k) | torch.isnan(step).any(0)
        last_b[:, live], last_k[live] = coefficients, k
        converged[live] = rest
        keep = ~(rest | gone)
        if not keep.any():
            break
        live, design, tails, coefficients, k = live[keep], design.rows(keep), tails[keep], coefficients[:, keep], k[keep]
        move, before, secant = move[keep], before[keep], secant[keep]
    return last_b, last_k, converged


def _slope(k: Tensor, mu: Tensor, spread: Tensor, y: Tensor, tails: Tensor) -> tuple[Float[Tensor, "row"], Float[Tensor, "row"]]:
    """First and second derivative of log L in k."""
    x = spread - 1.0
    near = x < NEAR
    safe = torch.where(near, 1.0, x)
    log_spread = torch.log(torch.where(near, 2.0, spread))
    g = (log_spread - safe / (1.0 + safe)) / (safe * safe)
    slope_g = 1.0 / (safe * (1.0 + safe) * (1.0 + safe)) - 2.0 * g / safe
    if bool(near.any()):
        small = torch.where(near, k[:, None] * mu, 0.0)
        g = torch.where(near, _series(small, [(i + 1) / (i + 2) for i in range(9)]), g)
        slope_g = torch.where(near, -_series(small, [(i + 1) * (i + 2) / (i + 3) for i in range(9)]), slope_g)
    squared = mu * mu
    slope = (squared * g - y * mu / spread).sum(-1)
    curvature = (squared * (mu * slope_g + y / (spread * spread))).sum(-1)
    for first in range(0, tails.shape[-1], WIDTH):
        j = torch.arange(first, first + WIDTH, dtype=torch.float64, device=k.device)
        n = tails[:, first : first + WIDTH]
        ratio = j / (1.0 + k[:, None] * j)
        slope = slope + (n * ratio).sum(-1)
        curvature = curvature - (n * ratio * ratio).sum(-1)
    return slope, curvature


def _log_likelihood(k: Tensor, mu: Tensor, y: Tensor, tails: Tensor) -> Float[Tensor, "row"]:
    """The part of log L that depends on k: without y log μ and log y!."""
    x = k[:, None] * mu
    log_spread = torch.log1p(x)
    small = torch.where(x < NEAR, x, 0.0)
    per_mean = torch.where(x < NEAR, mu * _series(small, [1.0 / (i + 1) for i in range(9)]), log_spread / torch.where(k > 0, k, 1.0)[:, None])
    found = -(y * log_spread + per_mean).sum(-1)
    for first in range(0, tails.shape[-1], WIDTH):
        j = torch.arange(first, first + WIDTH, dtype=torch.float64, device=k.device)
        found = found + (tails[:, first : first + WIDTH] * torch.log1p(k[:, None] * j)).sum(-1)
    return found


def _series(x: Tensor, coefficients: list[float]) -> Tensor:
    """Σ (-x)^i c_i."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient - x * total
    return total


def _tails(y: Float[Tensor, "replicate patient"]) -> Float[Tensor, "replicate count"]:
    """How many patients have more than 0, 1, 2, … events; the length is a multiple of WIDTH."""
    n = max(int(y.max()), 1)
    n += -n % WIDTH
    counts = torch.zeros((len(y), n + 1), dtype=torch.float64, device=y.device)
    counts.scatter_add_(1, y.to(torch.int64), torch.ones_like(y))
    return counts.flip(-1).cumsum(-1).flip(-1)[:, 1:].contiguous()


def _leverage(factor: Factor, x: Float[Tensor, "column replicate patient"]) -> Float[Tensor, "replicate patient"]:
    """x' I⁻¹ x of every patient."""
    total = torch.zeros_like(x[0])
    for j in range(len(x)):
        total = total + x[j] * combined(factor.column(j), x)
    return total


def _adjustment(factor: Factor, design: Design, spread: Tensor, weight: Tensor, drift: Tensor) -> Float[Tensor, "row"]:
    """The derivative in k of -½ log |X'WX|, with the coefficients following k; `factor` is of X'WX."""
    change = -weight * weight + weight / spread * combined(drift, design.x)
    return -0.5 * (_leverage(factor, design.x) * change).sum(-1)
