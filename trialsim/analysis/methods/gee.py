"""Generalised estimating equations: the arm's effect on all visits of an endpoint, with a robust standard error.

    Σ_i D_i' V_i⁻¹ (y_i - μ_i) = 0,   g(μ) = b0 + covariates + b arm,   V_i = φ A^½ R(α) A^½,

by Fisher scoring with the canonical link (`gaussian`, `binomial`, `poisson`) and moment estimates of φ and α at every step.
The standard error is Liang and Zeger's sandwich with patients as clusters, without correction for small samples; z = b/se. The
effect is the same at all visits; `visit_effects` adds a mean per visit, which matters where visits are missing. Missing visits
count as missing completely at random. Several test arms are levels of one model.

Fails where an arm is empty, without an event (or in an arm, or without a non-event), without variance, and where the working
correlation is not positive definite or no solution is found. Exposures are not handled.

**Source:** Liang & Zeger 1986 (doi 10.1093/biomet/73.1.13); see `working_correlation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import (
    COMPLETE_SEPARATION,
    DID_NOT_CONVERGE,
    NO_EVENTS,
    NO_EVENTS_IN_AN_ARM,
    NO_PATIENTS,
    NO_VARIANCE,
    SINGULAR,
    complete_cases,
    fail,
)
from trialsim.analysis.linear_predictor import columns_of
from trialsim.analysis.normal_equations import Factor, combined, dot, factorise, weighted_products
from trialsim.analysis.working_correlation import Structure, Whitening, correlation
from trialsim.records import Estimates, VisitData

MAX_ITERATIONS = 60
ALONE = 4  # steps under independence before the correlation is estimated
SMALL_DECREMENT = 1e-18
SETTLED = 1e-10  # change of a correlation
FLAT = 1e-24  # of the mean square: equal values

Kind = Literal["gaussian", "binomial", "poisson"]


class Gee(Analysis):
    """Generalised estimating equations; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous", "binary", "count")
    takes = VisitData
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    method: Literal["gee"] = Field(description="Generalised estimating equations.")
    family: Kind = Field(default="gaussian", description="Distribution family.")
    correlation: Structure = Field(default="independence", description="Working correlation of a patient's visits.")
    visit_effects: bool = Field(default=False, description="A mean per visit, shared by the arms.")
    exposure: str | None = Field(default=None, description="The column of time at risk.")

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The natural scale of the estimate."""
        return {"gaussian": "difference", "binomial": "odds_ratio", "poisson": "rate_ratio"}[self.family]

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """The scale of inference."""
        return self.scale if self.family == "gaussian" else f"log_{self.scale}"

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.exposure is not None:
            yield "exposure of gee"

    def estimate(self, data: VisitData, *, favours: int) -> Estimates:  # type: ignore[override]
        """The arm's coefficient with its robust standard error; see `Analysis.estimate`."""
        problem = _problem(data, visit_effects=self.visit_effects)
        fit = gee_fit(problem, self.family, self.correlation)
        failure = _failures(problem, fit, self.family)
        estimate, std_error = fail(failure, fit.coefficients[-1], fit.robust_variance.sqrt())
        n = problem.seen.sum(-1)
        return Estimates(statistic=favours * estimate / std_error, n=n, failure=failure, estimate=estimate, std_error=std_error)


@dataclass(frozen=True, slots=True)
class Problem:
    """Columns (arm last), values and presence by visit; zero where a visit is missing."""

    x: list[Tensor]
    y: list[Tensor]
    there: list[Tensor]
    seen: Bool[Tensor, "replicate patient"]
    arms: tuple[Tensor, Tensor]

    def rows(self, which: Tensor) -> Problem:
        """Some replicates."""
        return Problem(
            [x[:, which] for x in self.x],
            [y[which] for y in self.y],
            [there[which] for there in self.there],
            self.seen[which],
            (self.arms[0][which], self.arms[1][which]),
        )


@dataclass(frozen=True, slots=True)
class GeeFit:
    """The solution; `scale` is φ and `correlations` the ρ_jk of visits j > k."""

    coefficients: Float[Tensor, "column replicate"]
    robust_variance: Float[Tensor, "replicate"]
    scale: Float[Tensor, "replicate"]
    correlations: dict[tuple[int, int], Tensor]
    converged: Bool[Tensor, "replicate"]
    singular: Bool[Tensor, "replicate"]


def _problem(data: VisitData, *, visit_effects: bool) -> Problem:
    present = ~torch.isnan(data.value)
    complete = complete_cases(data.covariates)
    if complete is not None:
        present = present & complete[..., None]
    seen = present.any(-1)
    constant, *others = columns_of(data.group, data.covariates, seen, data.n_groups)
    by_visit = present.unbind(-1)
    nothing = torch.zeros_like(constant)
    x = []
    for visit, here in enumerate(by_visit):
        effects = [constant if visit == other else nothing for other in range(1, len(by_visit) if visit_effects else 0)]
        x.append(torch.stack([constant, *effects, *others]) * here)
    y = [torch.where(here, value, 0.0) for here, value in zip(by_visit, data.value.unbind(-1), strict=True)]
    arms = (seen & (data.group == 0), seen & (data.group == 1))
    return Problem(x=x, y=y, there=[here.to(torch.float64) for here in by_visit], seen=seen, arms=arms)


def gee_fit(problem: Problem, family: Kind, structure: Structure) -> GeeFit:
    """Fisher scoring, each replicate to its own convergence."""
    n_rows = len(problem.y[0])
    device = problem.y[0].device
    coefficients = torch.zeros((len(problem.x[0]), n_rows), dtype=torch.float64, device=device)
    coefficients[0] = _start(problem, family)
    found, converged = coefficients.clone(), torch.zeros(n_rows, dtype=torch.bool, device=device)
    live, left, last = torch.arange(n_rows, device=device), problem, None
    for iteration in range(MAX_ITERATIONS):
        point = _Step(left, coefficients, family, "independence" if iteration < ALONE else structure)
        step, rho = point.step, point.rho
        decrement = dot(point.score, step) / point.scale
        moved = torch.zeros_like(decrement)
        if rho:
            moved = torch.full_like(decrement, torch.inf) if not last else torch.stack([(rho[pair] - last[pair]).abs() for pair in rho]).amax(0)
        coefficients = coefficients + step
        found[:, live] = coefficients
        rest = (decrement < SMALL_DECREMENT) & (moved < SETTLED) & (iteration >= ALONE)
        lost = torch.isnan(decrement) | ~point.whiten.sound
        converged[live] = rest & ~lost
        keep = ~(rest | lost)
        if not keep.any():
            break
        live, left, coefficients = live[keep], left.rows(keep), coefficients[:, keep]
        last = {pair: value[keep] for pair, value in rho.items()}
    end = _Step(problem, found, family, structure)
    return GeeFit(
        coefficients=found,
        robust_variance=end.robust_variance(),
        scale=end.scale,
        correlations=end.rho,
        converged=converged,
        singular=end.factor.pivots[-1] == 0,
    )


def _start(problem: Problem, family: Kind) -> Float[Tensor, "replicate"]:
    total, n = _sum([y.sum(-1) for y in problem.y]), _sum([there.sum(-1) for there in problem.there])
    if family == "gaussian":
        return total / n
    return torch.log(total / n) if family == "poisson" else torch.log((total + 0.5) / (n - total + 0.5))


class _Step:
    """One step of Fisher scoring, with scale and correlation at the current coefficients."""

    def __init__(self, problem: Problem, coefficients: Tensor, family: Kind, structure: Structure) -> None:
        residual, root = [], []
        for x, y, there in zip(problem.x, problem.y, problem.there, strict=True):
            mu, variance = _mean(combined(coefficients, x), family)
            sd = variance.sqrt()
            residual.append((y - mu) / sd * there)
            root.append(sd)
        self.scale = _sum([(r * r).sum(-1) for r in residual]) / _sum([there.sum(-1) for there in problem.there])
        self.rho = correlation(residual, problem.there, self.scale, structure)
        complete = all(bool((there > 0).all()) for there in problem.there)
        self.whiten = Whitening(self.rho, problem.there, complete=complete)
        self.x = self.whiten([x * sd for x, sd in zip(problem.x, root, strict=True)])
        self.residual = self.whiten(residual)
        one = torch.ones_like(residual[0])
        self.factor: Factor = factorise(_sum([weighted_products(x, one) for x in self.x]))
        self.score = _sum([(x * r).sum(-1) for x, r in zip(self.x, self.residual, strict=True)])
        self.step = self.factor.solve(self.score)

    def robust_variance(self) -> Float[Tensor, "replicate"]:
        direction = self.factor.column(-1)
        influence = _sum([combined(direction, x) * r for x, r in zip(self.x, self.residual, strict=True)])
        return (influence * influence).sum(-1)


def _mean(eta: Tensor, family: Kind) -> tuple[Tensor, Tensor]:
    """μ and the variance function, which is dμ/dη under the canonical link."""
    if family == "gaussian":
        return eta, torch.ones_like(eta)
    if family == "poisson":
        mu = torch.exp(eta)
        return mu, mu
    odds = torch.exp(-eta.abs())
    larger = 1.0 / (1.0 + odds)
    return torch.where(eta >= 0, larger, odds * larger), (odds * larger * larger).clamp(min=1e-300)


def _failures(problem: Problem, fit: GeeFit, family: Kind) -> Int[Tensor, "replicate"]:
    n = _sum([there.sum(-1) for there in problem.there])
    total = _sum([y.sum(-1) for y in problem.y])
    square = _sum([(y * y).sum(-1) for y in problem.y])
    failure = torch.zeros(len(n), dtype=torch.int8, device=n.device)
    failure = torch.where(fit.singular, SINGULAR, failure)
    failure = torch.where(fit.converged, failure, DID_NOT_CONVERGE)
    if family == "gaussian":
        failure = torch.where(fit.scale > FLAT * square / n, failure, NO_VARIANCE)
    else:
        for arm in problem.arms:
            events = _sum([(y * arm).sum(-1) for y in problem.y])
            visits = _sum([(there * arm).sum(-1) for there in problem.there])
            failure = torch.where(events == 0, NO_EVENTS_IN_AN_ARM, failure)
            failure = torch.where((events == visits) & (family == "binomial"), COMPLETE_SEPARATION, failure)
        failure = torch.where((total == n) & (family == "binomial"), NO_VARIANCE, failure)
        failure = torch.where(total == 0, NO_EVENTS, failure)
    return torch.where(~problem.arms[0].any(-1) | ~problem.arms[1].any(-1), NO_PATIENTS, failure)


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
