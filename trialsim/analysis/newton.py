"""The largest value of a concave log-likelihood, many replicates at a time, each stopped at its own convergence.

Newton's steps, halved while the likelihood falls. A column that others determine gets the coefficient 0 (see
`normal_equations`). Where the coefficient of a covariate runs away while the arm's (the last) is at rest, the arm's numbers
are those of the limit; where the arm's runs away itself there is no maximum and the replicate has not converged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.normal_equations import Factor, dot, factorise


class Likelihood(Protocol):
    """A log-likelihood of a block of replicates."""

    def at(self, coefficients: Float[Tensor, "column replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """log L `[replicate]`, its gradient `[column, replicate]` and minus its Hessian `[column, column, replicate]` (lower triangle)."""
        ...

    def rows(self, which: Tensor) -> Likelihood:
        """The likelihood of some replicates."""
        ...


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a replicate is done: its decrement U'I⁻¹U before the last step is `small` (Newton's error is squared by that step).

    After `iterations` it is too where the decrement is `flat`. Either way the last step of the arm is within `rest`.
    """

    iterations: int = 30
    small: float = 1e-18
    flat: float = 1e-8
    rest: float = 1e-4


PARTIAL = Stopping()
"""Of partial likelihoods."""
REGRESSION = Stopping(iterations=25, small=1e-12, flat=1e-6, rest=1e-3)
"""Of regressions, where an iteration costs more."""


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is largest."""

    likelihood: Likelihood
    coefficients: Float[Tensor, "column replicate"]
    converged: Bool[Tensor, "replicate"]

    @cached_property
    def factor(self) -> Factor:
        """The factor of the information there."""
        return factorise(self.likelihood.at(self.coefficients)[2])


@dataclass(frozen=True, slots=True)
class _Point:
    log_likelihood: Tensor
    step: Tensor
    decrement: Tensor

    def rows(self, which: Tensor) -> _Point:
        return _Point(self.log_likelihood[which], self.step[:, which], self.decrement[which])

    def at_rest(self, within: float) -> Bool[Tensor, "replicate"]:
        """Whether the arm's coefficient is; under separation its steps are of size 1 for ever."""
        return torch.isfinite(self.decrement) & (self.step[-1].abs() < within)


def maximise(likelihood: Likelihood, start: Float[Tensor, "column replicate"], *, stopping: Stopping = PARTIAL) -> Maximum:
    """The maximum of every replicate, from `start`."""
    coefficients, converged = start.clone(), torch.zeros(start.shape[1], dtype=torch.bool, device=start.device)
    live, left, at = torch.arange(start.shape[1], device=start.device), likelihood, start
    point = _evaluate(left, at)
    trial = at + point.step
    for _ in range(stopping.iterations):
        done = ~(point.decrement >= stopping.small)  # a NaN is over, too
        if done.any():
            coefficients[:, live[done]], converged[live[done]] = trial[:, done], point.at_rest(stopping.rest)[done]
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
        converged[live] = point.at_rest(stopping.rest) & (point.decrement < stopping.flat)
    return Maximum(likelihood=likelihood, coefficients=coefficients, converged=converged)


def _evaluate(likelihood: Likelihood, coefficients: Tensor) -> _Point:
    log_likelihood, score, information = likelihood.at(coefficients)
    step = factorise(information).solve(score)
    return _Point(log_likelihood=log_likelihood, step=step, decrement=dot(score, step))
