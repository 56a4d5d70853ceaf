"""The proportional rate of recurrent events (Andersen-Gill partial likelihood), and the mean number of events over time.

    log L(b) = Σ_e [ x_e'b - log S0_e ],   S0_e = Σ_{at risk} exp(x_i'b)   over all events e of all patients;

robust variance: the sandwich of the patients' score residuals, each patient's events together,

    r_i = Σ_{e of i} (x_i - S1_e/S0_e) - exp(x_i'b) Σ_{e: i at risk} (x_i - S1_e/S0_e)/S0_e.

The mean cumulative function of an arm is Nelson-Aalen's μ(t) = Σ_{e: t_e <= t} 1/Y(t_e), with the robust variance

    Σ_i [ Σ_{e of i, t_e <= t} 1/Y(t_e) - Σ_{t_e <= min(t, follow-up of i)} 1/Y(t_e)² ]²,

valid whatever the dependence of a patient's events. Death as a competing terminal event is not handled: it ends follow-up.

**Source:** Andersen & Gill 1982 (doi 10.1214/aos/1176345976); Lin, Wei, Yang & Ying 2000 (doi 10.1111/1467-9868.00259);
Lawless & Nadeau 1995 (doi 10.1080/00401706.1995.10484300).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.analysis.linear_predictor import columns_of
from trialsim.analysis.normal_equations import combined
from trialsim.analysis.recurrent_times import RecurrentTimes, Ties, recurrent_times, total
from trialsim.records import RecurrentData
from trialsim.tensors import sort_last


@dataclass(frozen=True, slots=True)
class RecurrentLikelihood:
    """Columns: covariates (standardised), further arms, the arm last; zero for patients not in the analysis."""

    x: Float[Tensor, "column replicate patient"]
    there: Float[Tensor, "replicate patient"]
    n_events: Float[Tensor, "replicate patient"]
    times: RecurrentTimes

    def rows(self, which: Bool[Tensor, "replicate"]) -> RecurrentLikelihood:
        """Some replicates."""
        return RecurrentLikelihood(self.x[:, which], self.there[which], self.n_events[which], self.times.rows(which))

    def at(self, coefficients: Float[Tensor, "column replicate"]) -> tuple[Tensor, Tensor, Tensor]:
        """See `newton.Likelihood`."""
        sums = self._sums(coefficients)
        score = (self.n_events * self.x).sum(-1) - total(sums.mean)
        weight = sums.theta * self.times.accumulated(sums.increment)
        information = torch.zeros((len(self.x), *score.shape), dtype=score.dtype, device=score.device)
        for j in range(len(self.x)):
            information[j, : j + 1] = (weight * self.x[j] * self.x[: j + 1]).sum(-1) - total(sums.mean[j] * sums.mean[: j + 1])
        log_likelihood = (self.n_events * sums.eta).sum(-1) - total(self.times.event * torch.log(sums.total))
        return log_likelihood, score, information

    def robust_variance(self, coefficients: Float[Tensor, "column replicate"], direction: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate"]:
        """Σ_i (direction'r_i)²; `direction` is a column of the inverse information."""
        sums = self._sums(coefficients)
        own, mean = combined(direction, self.x), combined(direction, sums.mean)
        seen, seen_mean = self.times.accumulated(torch.stack([sums.increment, sums.increment * mean]))
        influence = self.n_events * own - self.times.own(self.times.tied_mean(mean)) - sums.theta * (own * seen - seen_mean)
        return (influence * influence).sum(-1)

    def _sums(self, coefficients: Tensor) -> _Sums:
        eta = combined(coefficients, self.x)
        theta = torch.exp(eta) * self.there
        at_risk = self.times.at_risk(torch.cat([theta[None], theta * self.x]))
        event = self.times.event
        whole = torch.where(event > 0, at_risk[0], 1.0)
        increment = event / whole
        return _Sums(eta, theta, whole, increment, at_risk[1:] * increment)


@dataclass(frozen=True, slots=True)
class _Sums:
    eta: Tensor
    theta: Tensor
    total: Tensor
    increment: Tensor
    mean: Tensor


def recurrent_likelihood(data: RecurrentData, there: Bool[Tensor, "replicate patient"], *, ties: Ties = "efron") -> RecurrentLikelihood:
    """The likelihood of the patients who are there (complete covariates)."""
    x = torch.stack(columns_of(data.group, data.covariates, there, data.n_groups)[1:])
    return RecurrentLikelihood(x, there.to(torch.float64), events_of(data, there).to(torch.float64), recurrent_times(data, there, ties=ties))


def events_of(data: RecurrentData, there: Bool[Tensor, "replicate patient"]) -> Tensor:
    """How many events each patient had; int64 `[replicate, patient]`."""
    return (torch.isfinite(data.time) & there[..., None]).sum(-1)


def mean_cumulative_function(
    data: RecurrentData, group: int, at: Float[Tensor, "time"]
) -> tuple[Float[Tensor, "replicate time"], Float[Tensor, "replicate time"]]:
    """Mean number of events per patient of an arm up to each time, and its robust variance; NaN after the arm's last follow-up."""
    there = (data.follow_up >= 0) & (data.group == group)
    times = recurrent_times(dataclasses.replace(data, stratum=None, n_strata=1), there, ties="breslow")
    event_time = torch.full_like(times.event, torch.inf)
    if data.time.shape[-1] > 0:
        event_time = sort_last(torch.where(there[..., None], data.time, torch.inf).flatten(-2))[:, : event_time.shape[-1]]
    weight = there.to(torch.float64)
    jump = times.event / torch.where(times.event > 0, times.at_risk(weight), 1.0)
    last = torch.where(there, data.follow_up, -torch.inf).amax(-1)
    means, variances = [], []
    for t in at:
        inside = torch.where(event_time <= t, jump, 0.0)
        influence = times.own(inside) - times.accumulated(inside * inside) * weight
        known = t <= last
        means.append(torch.where(known, total(inside), torch.nan))
        variances.append(torch.where(known, (influence * influence).sum(-1), torch.nan))
    return torch.stack(means, dim=-1), torch.stack(variances, dim=-1)
