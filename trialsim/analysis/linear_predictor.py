"""Regression of a value on the arm and covariates by maximum likelihood, many replicates at a time.

The linear predictor is η = x'b + offset with columns: constant, covariates (centred and scaled, which changes no other
coefficient), further test arms, and the arm of the comparison last. Families with their canonical link:

    logit:   P(y = 1) = 1 / (1 + exp(-η))           log L = Σ y η - log(1 + exp η)
    poisson: E y = exp η                            log L = Σ y η - exp η (+ constant)

By Newton's method (see `newton`): a covariate that runs away (a level with no event) leaves the arm the numbers of the limit; where
the arm itself runs away the replicate has not converged.

**Source:** McCullagh & Nelder 1989 (doi 10.1201/9780203753736); Albert & Anderson 1984 (doi 10.1093/biomet/71.1.1) for
separation; White 1982 (doi 10.2307/1912526) for the sandwich.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis import newton
from trialsim.analysis.failures import complete_cases
from trialsim.analysis.normal_equations import Factor, combined, factorise, weighted_products
from trialsim.records import ValueData


@runtime_checkable
class Family(Protocol):
    """Residual of the score, weight of the information and log-likelihood of every patient at η."""

    def at(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...

    def mean(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """μ and dμ/dη."""
        ...


class Logit:
    """Bernoulli, canonical link."""

    def at(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, weight, larger = self._at(eta)
        return y - mu, weight, y * eta - eta.clamp(min=0.0) + torch.log(larger)

    def mean(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        mu, weight, _ = self._at(eta)
        return mu, weight

    def _at(self, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        odds = torch.exp(-eta.abs())
        larger = 1.0 / (1.0 + odds)
        smaller = odds * larger
        return torch.where(eta >= 0, larger, smaller), larger * smaller, larger


class Log:
    """Poisson, canonical link."""

    def at(self, eta: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu = torch.exp(eta)
        return y - mu, mu, y * eta - mu

    def mean(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        mu = torch.exp(eta)
        return mu, mu


@dataclass(frozen=True, slots=True)
class Design:
    """Who is in the analysis and their columns (zero for all others)."""

    x: Float[Tensor, "column replicate patient"]
    y: Float[Tensor, "replicate patient"]
    there: Float[Tensor, "replicate patient"]
    offset: Float[Tensor, "replicate patient"] | None
    n_groups: int

    def rows(self, which: Tensor) -> Design:
        """Some replicates."""
        return Design(self.x[:, which], self.y[which], self.there[which], None if self.offset is None else self.offset[which], self.n_groups)

    def eta(self, coefficients: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate patient"]:
        """The linear predictor."""
        eta = combined(coefficients, self.x)
        return eta if self.offset is None else eta + self.offset

    @property
    def n(self) -> Tensor:
        """Patients in the analysis."""
        return self.there.sum(-1)

    def n_of(self, group: int) -> Tensor:
        """Patients of the test arm (1) or the reference (0) in the analysis."""
        if group == 1:
            return self.x[-1].sum(-1)
        others = self.x[len(self.x) - self.n_groups + 1 :]
        return self.n - others.sum(-1).sum(0)

    def total_of(self, group: int) -> Tensor:
        """Sum of the values of the test arm (1) or the reference (0)."""
        if group == 1:
            return (self.x[-1] * self.y).sum(-1)
        others = self.x[len(self.x) - self.n_groups + 1 :]
        reference = self.there - others.sum(0)
        return (reference * self.y).sum(-1)


def design_of(data: ValueData) -> Design:
    """Constant, covariates, further arms, arm; complete cases, with a positive exposure where there is one."""
    present = ~torch.isnan(data.value)
    complete = complete_cases(data.covariates)
    if complete is not None:
        present = present & complete
    offset = None
    if data.exposure is not None:
        present = present & (data.exposure > 0)
        offset = torch.log(torch.where(present, data.exposure, 1.0))
    there = present.to(torch.float64)
    columns = columns_of(data.group, data.covariates, present, data.n_groups)
    return Design(x=torch.stack(columns), y=torch.where(present, data.value, 0.0), there=there, offset=offset, n_groups=data.n_groups)


def columns_of(group: Tensor, covariates: Tensor | None, present: Bool[Tensor, "replicate patient"], n_groups: int) -> list[Tensor]:
    """Constant, standardised covariates, further arms, arm: `[replicate, patient]` each, zero where not present."""
    there = present.to(torch.float64)
    n = there.sum(-1).clamp(min=1.0)
    columns = [there]
    for column in () if covariates is None else covariates.unbind(-1):
        column = torch.where(present, column, 0.0)
        mean = column.sum(-1) / n
        centred = (column - mean[:, None]) * there
        sd = ((centred * centred).sum(-1) / n).sqrt()
        sd = torch.where(sd > 1e-12 * mean.abs(), sd, torch.inf)
        columns.append(centred / sd[:, None])
    columns += [there * (group == other) for other in (*range(2, n_groups), 1)]
    return columns


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the likelihood is largest. `factor` is of the information there; `converged` false where there is no maximum."""

    coefficients: Float[Tensor, "column replicate"]
    factor: Factor
    residual: Float[Tensor, "replicate patient"]
    converged: Bool[Tensor, "replicate"]

    @property
    def variance(self) -> Float[Tensor, "replicate"]:
        """Of the arm's coefficient, from the information."""
        return self.factor.inverse[-1]

    @property
    def singular(self) -> Bool[Tensor, "replicate"]:
        """Whether the arm is a combination of the other columns."""
        return self.factor.pivots[-1] == 0

    def influence(self, direction: Float[Tensor, "column replicate"], x: Float[Tensor, "column replicate patient"]) -> Float[Tensor, "replicate patient"]:
        """What each patient adds to Σ direction · (b - β): (direction' I⁻¹ x_i) times the residual."""
        return combined(self.factor.solve(direction), x) * self.residual

    def robust_variance(self, x: Float[Tensor, "column replicate patient"]) -> Float[Tensor, "replicate"]:
        """Of the arm's coefficient: the sandwich I⁻¹ Σ (x r)(x r)' I⁻¹, without correction for small samples."""
        unit = torch.zeros_like(self.coefficients)
        unit[-1] = 1.0
        influence = self.influence(unit, x)
        return (influence * influence).sum(-1)


@dataclass(frozen=True, slots=True)
class _Regression:
    """The log-likelihood of a family, as `newton.Likelihood`."""

    family: Family
    design: Design

    def at(self, coefficients: Float[Tensor, "column replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """See `newton.Likelihood`."""
        design = self.design
        residual, weight, each = self.family.at(design.eta(coefficients), design.y)
        return (each * design.there).sum(-1), (design.x * residual).sum(-1), weighted_products(design.x, weight)

    def rows(self, which: Tensor) -> _Regression:
        """Some replicates."""
        return _Regression(self.family, self.design.rows(which))


def maximise(family: Family, design: Design, start: Float[Tensor, "replicate"]) -> Fit:
    """The maximum, from the constant `start` and zeros."""
    at = torch.zeros(design.x.shape[:2], dtype=torch.float64, device=design.y.device)
    at[0] = start
    found = newton.maximise(_Regression(family, design), at, stopping=newton.REGRESSION)
    residual, weight, _ = family.at(design.eta(found.coefficients), design.y)
    return Fit(
        coefficients=found.coefficients,
        factor=factorise(weighted_products(design.x, weight)),
        residual=residual * design.there,
        converged=found.converged,
    )
