"""The largest value of a concave log-likelihood, many replicates at a time, each stopped at its own convergence.

Newton's steps, halved while the likelihood falls. A column that others determine gets the coefficient 0 (see
`normal_equations`). Where the coefficient of a covariate runs away while the arm's (the last) is at rest, the arm's numbers
are those of the limit; where the arm's runs away itself the replicate has not converged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.normal_equations import Factor, dot, factorise

MAX_ITERATIONS = 30
SMALL_DECREMENT = 1e-18  # U'I⁻¹U: what is left is 1e-9 standard errors
FLAT, AT_REST = 1e-8, 1e-4


class Likelihood(Protocol):
    """A log-likelihood of a block of replicates."""

    def at(self, coefficients: Float[Tensor, "column replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """log L `[replicate]`, its gradient `[column, replicate]` and minus its Hessian `[column, column, replicate]` (lower triangle)."""
        ...

    def rows(self, which: Bool[Tensor, "replicate"]) -> Likelihood:
        """The likelihood of some replicates."""
        ...


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where the likelihood is largest, and the factor of the information there."""

    coefficients: Float[Tensor, "column replicate"]
    factor: Factor
    converged: Bool[Tensor, "replicate"]


@dataclass(frozen=True, slots=True)
class _Point:
    log_likelihood: Tensor
    step: Tensor
    decrement: Tensor

    def rows(self, which: Tensor) -> _Point:
        return _Point(self.log_likelihood[which], self.step[:, which], self.decrement[which])


def maximise(likelihood: Likelihood, start: Float[Tensor, "column replicate"]) -> Maximum:
    """The maximum of every replicate, from `start`."""
    coefficients, converged = start.clone(), torch.zeros(start.shape[1], dtype=torch.bool, device=start.device)
    live, left, at = torch.arange(start.shape[1], device=start.device), likelihood, start
    point = _evaluate(left, at)
    trial = at + point.step
    for _ in range(MAX_ITERATIONS):
        done = ~(point.decrement >= SMALL_DECREMENT)  # a NaN is over, too
        if done.any():
            coefficients[:, live[done]], converged[live[done]] = trial[:, done], torch.isfinite(point.decrement[done])
            keep = ~done
            if not keep.any():
                break
            live, left, at, trial, point = live[keep], left.rows(keep), at[:, keep], trial[:, keep], point.rows(keep)
        candidate = _evaluate(left, trial)
        better = candidate.log_likelihood >= point.log_likelihood - 1e-12 * point.log_likelihood.abs()
        at = torch.where(better, trial, at)
        point = _Point(*(torch.where(better, getattr(candidate, name), getattr(point, name)) for name in _Point.__slots__))
        trial = torch.where(better, at + point.step, 0.5 * (at + trial))
    else:
        coefficients[:, live] = at
        converged[live] = (point.decrement < FLAT) & (point.step[-1].abs() < AT_REST)
    return Maximum(coefficients=coefficients, factor=factorise(likelihood.at(coefficients)[2]), converged=converged)


def _evaluate(likelihood: Likelihood, coefficients: Tensor) -> _Point:
    log_likelihood, score, information = likelihood.at(coefficients)
    step = factorise(information).solve(score)
    return _Point(log_likelihood=log_likelihood, step=step, decrement=dot(score, step))
