"""Maximum partial likelihood of the arm and any number of covariates, many replicates at a time.

    log L(b) = Σ_events [ x_e'b - log S0_e ],   S0_e = Σ_at risk exp(x_i'b),   U = Σ_events (x_e - S1_e/S0_e),
    I = Σ_i w_i x_i x_i' - Σ_events (S1_e/S0_e)(S1_e/S0_e)',   w_i = exp(x_i'b) Σ_{events i is at risk for} 1/S0_e

(`w` is the expected number of events of patient i; the first sum of I equals Σ_events S2_e/S0_e). Newton's steps, halved
while the likelihood falls. Each replicate stops at its own convergence and its numbers do not depend on the others.

Columns are centred and scaled within a replicate, with the arm last: then the last pivot of the factorisation of I is
the information about the arm given the covariates. A covariate that is constant or a combination of others (a pivot of
zero) gets the coefficient 0, as in `survival::coxph`; an arm that is one is a singular design. Where the coefficient of a
covariate has no finite maximum the arm's is taken once it no longer moves, which is its limit.

**Source:** Cox 1972 (doi 10.1111/j.2517-6161.1972.tb00899.x); Therneau & Grambsch 2000, chapter 3 (doi
10.1007/978-1-4757-3294-8). Time-dependent covariates, weights and delayed entry are not handled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.exact_ties import exact_likelihood
from trialsim.analysis.risk_sets import RiskSets

MAX_ITERATIONS = 30
SMALL_DECREMENT = 1e-16  # U' I^-1 U: the step left is 1e-8 standard errors
FLAT, AT_REST = 1e-8, 1e-4
SMALL_PIVOT = 1e-10  # relative to the diagonal


@dataclass(frozen=True, slots=True)
class Point:
    """The partial likelihood at some coefficients. `pivots` are those of I, covariates first, the arm last."""

    log_likelihood: Float[Tensor, "replicate"]
    score: Float[Tensor, "column replicate"]
    step: Float[Tensor, "column replicate"]
    decrement: Float[Tensor, "replicate"]
    pivots: Float[Tensor, "column replicate"]

    def put(self, where: Bool[Tensor, "replicate"], other: Point) -> Point:
        """`other` where `where` is true."""
        return Point(*(torch.where(where, getattr(other, name), getattr(self, name)) for name in self.__slots__))

    def rows(self, which: Tensor) -> Point:
        """The point of some replicates."""
        return Point(*(getattr(self, name)[..., which] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where the likelihood of each replicate is largest; `converged` false where it was not found."""

    coefficients: Float[Tensor, "column replicate"]
    point: Point
    converged: Bool[Tensor, "replicate"]


def standardised(x: Float[Tensor, "column replicate rank"], there: Float[Tensor, "replicate rank"]) -> tuple[Tensor, Float[Tensor, "column replicate"]]:
    """Columns centred and divided by their SD over the patients in the analysis, zero elsewhere; and the SDs (0: constant)."""
    n = there.sum(-1)
    x = x * there
    mean = x.sum(-1) / n
    centred = (x - mean[..., None]) * there
    sd = ((centred * centred).sum(-1) / n).sqrt()
    sd = torch.where(sd > 1e-12 * mean.abs(), sd, 0.0)
    return centred * torch.where(sd > 0, 1.0 / sd, 0.0)[..., None], sd


@dataclass(frozen=True, slots=True)
class _Sums:
    """What likelihood, score, information and residuals are made of, at some coefficients."""

    eta: Float[Tensor, "replicate rank"]
    theta: Float[Tensor, "replicate rank"]
    total: Float[Tensor, "replicate rank"]
    """S0 at events, 1 elsewhere."""
    increment: Float[Tensor, "replicate rank"]
    """1/S0 at events, 0 elsewhere."""
    mean: Float[Tensor, "column replicate rank"]
    """S1/S0 at events, 0 elsewhere."""
    seen: Float[Tensor, "replicate rank"]
    """The increments each patient was at risk for."""


def _sums(coefficients: Float[Tensor, "column replicate"], x: Float[Tensor, "column replicate rank"], there: Tensor, risk: RiskSets) -> _Sums:
    eta = coefficients[0][:, None] * x[0]
    for coefficient, column in zip(coefficients[1:], x[1:], strict=True):
        eta = eta + coefficient[:, None] * column
    theta = torch.exp(eta) * there
    total = risk.at_risk(theta) * risk.event + (1.0 - risk.event)
    increment = risk.event / total
    return _Sums(eta, theta, total, increment, mean=risk.at_risk(theta * x) * increment, seen=risk.accumulated(increment))


def _information(sums: _Sums, x: Float[Tensor, "column replicate rank"]) -> Float[Tensor, "column column replicate"]:
    weighted = sums.theta * sums.seen * x
    return torch.stack([(weighted[j] * x).sum(-1) - (sums.mean[j] * sums.mean).sum(-1) for j in range(len(x))])


def evaluate(
    coefficients: Float[Tensor, "column replicate"], x: Float[Tensor, "column replicate rank"], there: Tensor, risk: RiskSets, *, arm_free: bool
) -> Point:
    """Likelihood, score and Newton step. `arm_free` false: the last column is held where it is."""
    if risk.exact:
        log_likelihood, score, information = exact_likelihood(coefficients, x, there, risk)
        step, pivots = _solve(information, score, arm_free=arm_free)
        return Point(log_likelihood=log_likelihood, score=score, step=step, decrement=(score * step).sum(0), pivots=pivots)
    sums = _sums(coefficients, x, there, risk)
    score = (risk.event * x).sum(-1) - sums.mean.sum(-1)
    step, pivots = _solve(_information(sums, x), score, arm_free=arm_free)
    log_likelihood = (risk.event * sums.eta).sum(-1) - (risk.event * torch.log(sums.total)).sum(-1)
    return Point(log_likelihood=log_likelihood, score=score, step=step, decrement=(score * step).sum(0), pivots=pivots)


def robust_variance(
    coefficients: Float[Tensor, "column replicate"], x: Float[Tensor, "column replicate rank"], there: Tensor, risk: RiskSets
) -> Float[Tensor, "replicate"]:
    """The sandwich variance of the arm's coefficient: Σ_i (I^-1 r_i)², r_i the score residuals of the patients.

    r_i = δ_i (x_i - x̄_i) - exp(x_i'b) Σ_{events e that i is at risk for} (x_i - x̄_e) / S0_e, with Efron's weights for tied events.

    **Source:** Lin & Wei 1989 (doi 10.1080/01621459.1989.10478874).
    """
    sums = _sums(coefficients, x, there, risk)
    unit = torch.zeros_like(coefficients)
    unit[-1] = 1.0
    direction, _ = _solve(_information(sums, x), unit, arm_free=True)
    influence = torch.zeros_like(sums.theta)
    for weight, column, mean in zip(direction, x, sums.mean, strict=True):
        own = risk.event * column - risk.tied_mean(mean)
        expected = sums.theta * (column * sums.seen - risk.accumulated(sums.increment * mean))
        influence = influence + weight[:, None] * (own - expected)
    return (influence * influence).sum(-1)


def _solve(a: Float[Tensor, "column column replicate"], b: Float[Tensor, "column replicate"], *, arm_free: bool) -> tuple[Tensor, Tensor]:
    """Solves a x = b by LDL' without pivoting; a zero pivot, or an arm that is not free, gives x = 0 there."""
    p = len(a)
    diagonal = torch.stack([a[j, j] for j in range(p)])
    a, b = a.clone(), b.clone()
    inverse = torch.zeros_like(b)
    pivots = torch.zeros_like(b)
    for j in range(p):
        pivots[j] = a[j, j]
        # Columns have unit variance, so their information is of the order of the number of events: 1e-12 is nothing.
        sound = (a[j, j] > SMALL_PIVOT * diagonal[j]) & (a[j, j] > 1e-12)
        if j == p - 1 and not arm_free:
            break
        inverse[j] = torch.where(sound, 1.0 / a[j, j], 0.0)
        factor = a[j + 1 :, j] * inverse[j]
        a[j + 1 :, j + 1 :] = a[j + 1 :, j + 1 :] - factor[:, None] * a[j, j + 1 :][None]
        b[j + 1 :] = b[j + 1 :] - factor * b[j]
    solution = b * inverse
    for j in reversed(range(p)):
        for k in range(j + 1, p):
            solution[j] = solution[j] - inverse[j] * a[j, k] * solution[k]
    pivots[-1] = torch.where((pivots[-1] > SMALL_PIVOT * diagonal[-1]) & (pivots[-1] > 1e-12), pivots[-1], 0.0)
    return solution, pivots


def maximise(x: Float[Tensor, "column replicate rank"], there: Tensor, risk: RiskSets, *, arm_free: bool = True, start: Tensor | None = None) -> Maximum:
    """The largest likelihood over all coefficients, or over those of the covariates with the arm's held where `start` has it (at 0)."""
    n_rows = x.shape[1]
    at = torch.zeros(x.shape[:2], dtype=x.dtype, device=x.device) if start is None else start
    point = evaluate(at, x, there, risk, arm_free=arm_free)
    coefficients, found = at.clone(), point
    converged = torch.zeros(n_rows, dtype=torch.bool, device=x.device)
    live = torch.arange(n_rows, device=x.device)
    trial = at + point.step
    for _ in range(MAX_ITERATIONS):
        done = ~(point.decrement >= SMALL_DECREMENT)  # a NaN is over, too
        if done.any():
            rows = live[done]
            coefficients[:, rows], converged[rows] = trial[:, done], torch.isfinite(point.decrement[done])
            found = _scatter(found, rows, point.rows(done))
            keep = ~done
            if not keep.any():
                break
            live, at, trial, point = live[keep], at[:, keep], trial[:, keep], point.rows(keep)
            x, there, risk = x[:, keep], there[keep], risk.rows(keep)
        candidate = evaluate(trial, x, there, risk, arm_free=arm_free)
        better = candidate.log_likelihood >= point.log_likelihood - 1e-12 * point.log_likelihood.abs()
        at = torch.where(better, trial, at)
        point = point.put(better, candidate)
        trial = torch.where(better, at + point.step, 0.5 * (at + trial))
    else:
        # What is left has a covariate whose coefficient runs away (a level without events); the arm's may be at rest.
        coefficients[:, live], found = at, _scatter(found, live, point)
        converged[live] = (point.decrement < FLAT) & (point.step[-1].abs() < AT_REST)
    return Maximum(coefficients=coefficients, point=found, converged=converged)


def _scatter(target: Point, rows: Tensor, source: Point) -> Point:
    values = []
    for name in target.__slots__:
        field = getattr(target, name).clone()
        field[..., rows] = getattr(source, name)
        values.append(field)
    return Point(*values)
