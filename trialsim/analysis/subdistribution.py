"""The partial likelihood of the subdistribution hazard of one cause (Fine and Gray), with its robust variance.

Patients who had a competing event stay at risk with the probability of still being uncensored:

    log L(b) = Σ_e [ x_e'b - log S0_e ],   S0_e = Σ_{T_i >= t_e} θ_i + Σ_{competing, T_i < t_e} θ_i G(t_e-)/G(T_i-),   θ_i = exp(x_i'b),

G the Kaplan-Meier estimate of the censoring distribution of all patients together, just before the time. Ties by Breslow's
method. The variance is the sandwich of the patients' influences η_i + ψ_i,

    η_i = ∫ (x_i - S1/S0) w_i dM_i,   ψ_i = ∫ q/Y dM_i^c,   q(u) = Σ_{competing, T_i < u} Σ_{e: t_e >= u} (x_i - S1_e/S0_e) w_i(t_e) θ_i/S0_e,

ψ being what the estimation of G adds. All sums over risk sets are running sums.

**Source:** Fine & Gray 1999 (doi 10.1080/01621459.1999.10474144), equations 7 and 8. Time-dependent covariates and
censoring that depends on covariates are not handled.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.analysis.linear_predictor import columns_of
from trialsim.analysis.normal_equations import combined
from trialsim.analysis.tied_ranks import runs
from trialsim.records import EventData
from trialsim.tensors import argsort_last


@dataclass(frozen=True, slots=True)
class Subdistribution:
    """Patients by rising time. `first` and `last`: ranks of the first and last patient of the same time (None: no equal times).

    `uncensored` is G(T-), `kept` 1/G(T-) of patients with a competing event and 0 elsewhere.
    """

    x: Float[Tensor, "column replicate rank"]
    there: Float[Tensor, "replicate rank"]
    event: Float[Tensor, "replicate rank"]
    censored: Float[Tensor, "replicate rank"]
    at_risk: Float[Tensor, "replicate rank"]
    uncensored: Float[Tensor, "replicate rank"]
    kept: Float[Tensor, "replicate rank"]
    first: Int[Tensor, "replicate rank"] | None
    last: Int[Tensor, "replicate rank"] | None

    def rows(self, which: Bool[Tensor, "replicate"]) -> Subdistribution:
        """Some replicates."""
        names = ("there", "event", "censored", "at_risk", "uncensored", "kept", "first", "last")
        cut = {name: field[which] for name in names if (field := getattr(self, name)) is not None}
        return dataclasses.replace(self, x=self.x[:, which], **cut)

    def at(self, coefficients: Float[Tensor, "column replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """See `newton.Likelihood`."""
        sums = self._sums(coefficients)
        score = (self.event * self.x).sum(-1) - sums.mean.sum(-1)
        weight = sums.theta * sums.seen
        information = torch.zeros((len(self.x), *score.shape), dtype=score.dtype, device=score.device)
        for j in range(len(self.x)):
            information[j, : j + 1] = (weight * self.x[j] * self.x[: j + 1]).sum(-1) - (sums.mean[j] * sums.mean[: j + 1]).sum(-1)
        log_likelihood = (self.event * sums.eta).sum(-1) - (self.event * torch.log(sums.total)).sum(-1)
        return log_likelihood, score, information

    def robust_variance(self, coefficients: Float[Tensor, "column replicate"], direction: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate"]:
        """Σ_i (direction'(η_i + ψ_i))²; `direction` is a column of the inverse information."""
        sums = self._sums(coefficients)
        own = combined(direction, self.x)
        mean = combined(direction, sums.mean)
        increment = sums.increment
        eta = self.event * own - mean - sums.theta * (own * sums.seen - self._seen(increment * mean))
        later0, later1 = (self._from(self.uncensored * increment * factor) for factor in (torch.ones_like(mean), mean))
        weight = sums.theta * self.kept
        kept0, kept1 = self._before(weight), self._before(weight * own)
        q = (kept1 * later0 - kept0 * later1) / self.at_risk
        psi = self.censored * q - self._upto(self.censored * q / self.at_risk)
        influence = (eta + psi) * self.there
        return (influence * influence).sum(-1)

    def _sums(self, coefficients: Tensor) -> _Sums:
        eta = combined(coefficients, self.x)
        theta = torch.exp(eta) * self.there
        total = self._weighted(theta) * self.event + (1.0 - self.event)
        increment = self.event / total
        return _Sums(eta, theta, total, increment, self._weighted(theta * self.x) * increment, self._seen(increment))

    def _weighted(self, weight: Float[Tensor, "*more replicate rank"]) -> Float[Tensor, "*more replicate rank"]:
        """The sum of a weight over the risk set of every rank."""
        return self._from(weight) + self.uncensored * self._before(weight * self.kept)

    def _seen(self, increment: Tensor) -> Tensor:
        """The increments each patient was at risk for, in their measure: the transpose of `_weighted`."""
        return self._upto(increment) + self.kept * self._after(self.uncensored * increment)

    def _before(self, value: Tensor) -> Tensor:
        """Σ over earlier times."""
        before = value.cumsum(-1) - value
        return before if self.first is None else before.gather(-1, self.first.expand_as(before))

    def _from(self, value: Tensor) -> Tensor:
        """Σ over this and later times."""
        running = value.cumsum(-1)
        before = running - value
        return running[..., -1:] - (before if self.first is None else before.gather(-1, self.first.expand_as(before)))

    def _upto(self, value: Tensor) -> Tensor:
        """Σ over this and earlier times."""
        running = value.cumsum(-1)
        return running if self.last is None else running.gather(-1, self.last.expand_as(running))

    def _after(self, value: Tensor) -> Tensor:
        """Σ over later times."""
        running = value.cumsum(-1)
        return running[..., -1:] - (running if self.last is None else running.gather(-1, self.last.expand_as(running)))


@dataclass(frozen=True, slots=True)
class _Sums:
    eta: Tensor
    theta: Tensor
    total: Tensor
    increment: Tensor
    mean: Tensor
    seen: Tensor


def subdistribution(data: EventData) -> Subdistribution:
    """The layout of a block: covariates (standardised), further arms, and the arm last. Covariates must be complete."""
    there = data.time >= 0
    time = torch.where(there, data.time, torch.inf)
    order = argsort_last(time)
    time = time.gather(-1, order)

    def sort(x: Tensor) -> Tensor:
        return x.gather(-1, order)

    columns = columns_of(data.group, data.covariates, there, data.n_groups)[1:]
    present, event = sort(there), sort(data.event) & sort(there)
    competing = torch.zeros_like(event) if data.competing is None else sort(data.competing) & present & ~event
    censored = (present & ~event & ~competing).to(torch.float64)
    same = (time[:, 1:] == time[:, :-1]) & present[:, 1:]
    first = last = None
    n_present = present.to(torch.float64)
    before = n_present.cumsum(-1) - n_present
    gone = censored
    if same.any():
        first, last = runs(~same)
        before = before.gather(-1, first)
        running = censored.cumsum(-1)
        whole = running.gather(-1, last) - (running - censored).gather(-1, first)
        rank = torch.arange(time.shape[-1], device=time.device)
        gone = torch.where(rank == last, whole, 0.0)
    at_risk = (n_present.sum(-1, keepdim=True) - before).clamp(min=1.0)
    after = (1.0 - gone / at_risk).cumprod(-1)
    uncensored = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=-1)
    if first is not None:
        uncensored = uncensored.gather(-1, first)
    kept = torch.where(competing, 1.0 / uncensored, 0.0)
    x = torch.stack([sort(column) for column in columns])
    return Subdistribution(x, n_present, event.to(torch.float64), censored, at_risk, uncensored, kept, first, last)
