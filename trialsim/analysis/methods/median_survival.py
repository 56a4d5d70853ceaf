"""Median survival: the difference of the arms' Kaplan-Meier medians.

The estimate is m1 - m0 (days), m the first time at which S(m) <= 0.5 (`kaplan_meier`). Its standard error is

    SE² = SE1² + SE0²,   SE_g = √(Var S_g(m_g)) / f_g(m_g),

Greenwood's variance over the density, and 1/f the slope of the quantile function around the median,

    1/f = (Q(0.5 + h) - Q(0.5 - h)) / 2h,   h = n^(-1/3) q^(2/3) (1.5 φ(0)²)^(1/3),

the bandwidth of Hall & Sheather, chosen for the level of the test (q its normal quantile), n the patients of the arm, within
what the curve reaches. With `at` the density is taken around S_g(at) instead of 0.5. The test is estimate/SE, normal; it
favours the test arm when its median is longer (for events that are bad).

The interval does not need the density: the arms' own Brookmeyer-Crowley intervals, on the scale of `transform`, are
combined by `mover`. So test and interval can disagree near the bound; and where an arm's limit is not reached the side it
enters is infinite.

The test is conservative in small trials, where the standard error is too large: one-sided level 0.013 for 0.025 at 100 patients
(exponential times), 0.020 at 200 and 400, 0.024 at 1,600; the interval covers 0.95 to 0.98.

Fails where an arm has no patients or does not reach its median, and without variance. Covariates and strata are not handled.

**Source:** Brookmeyer & Crowley 1982 (doi 10.2307/2530286); Hall & Sheather 1988 (doi 10.1111/j.2517-6161.1988.tb01735.x);
Zou & Donner 2008 (doi 10.1002/sim.3095).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from scipy import special
from torch import Tensor

from trialsim.analysis.failures import NO_VARIANCE, NOT_REACHED, empty_arm, fail
from trialsim.analysis.kaplan_meier import Curves, Transform, first_time_below, kaplan_meier, quantile_interval, quantile_time, survival_at
from trialsim.analysis.mover import difference_limits
from trialsim.analysis.survival_contrast import SurvivalContrast
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime


class MedianSurvival(SurvivalContrast):
    """Difference in median survival; see the module."""

    scale: ClassVar[str | None] = "median_difference"
    std_error_scale: ClassVar[str | None] = "median_difference"

    method: Literal["median_survival"] = Field(description="Median survival.")
    at: PositiveTime | None = Field(default=None, description="Where the density is estimated, if not at the median.")
    transform: Transform = Field(default="log_log", description="Scale of the interval.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Medians, test minus reference; see `Analysis.estimate`. `favours` is about events: -1 when fewer are better."""
        curves = kaplan_meier(data)
        median = quantile_time(curves)[:2]
        reached = torch.isfinite(median).all(0)
        median = torch.where(reached, median, 0.0)
        quantile = -float(special.ndtri(self.alpha_one_sided))
        std_error = self._std_errors(data, curves, median, quantile)
        difference, error = median[1] - median[0], (std_error[0] * std_error[0] + std_error[1] * std_error[1]).sqrt()
        low, high = quantile_interval(curves, transform=self.transform, quantile=quantile)
        limits = difference_limits(median[1], (low[1], high[1]), median[0], (low[0], high[0]))
        failure = torch.where(error > 0, torch.zeros_like(NO_VARIANCE), NO_VARIANCE)
        failure = torch.where(reached, failure, NOT_REACHED)
        empty = empty_arm(data)
        failure = torch.where(empty != 0, empty, failure)
        difference, error, z, *ends = fail(failure, difference, error, -favours * difference / error, *limits)
        there = data.time >= 0
        n, n_events = there.sum(-1), (data.event & there).sum(-1)
        return Estimates(statistic=z, n=n, failure=failure, n_events=n_events, estimate=difference, std_error=error, ci_low=ends[0], ci_high=ends[1])

    def _std_errors(self, data: EventData, curves: Curves, median: Float[Tensor, "group replicate"], quantile: float) -> Float[Tensor, "group replicate"]:
        there = data.time >= 0
        found = []
        for g in range(2):
            n = (there & (data.group == g)).sum(-1).clamp(min=1)
            centre = torch.full_like(median[g], 0.5) if self.at is None else survival_at(curves, torch.full_like(median[g], self.at)).survival[g]
            slope = quantile_slope(curves, centre, n.to(torch.float64), quantile)[g]
            found.append(survival_at(curves, median[g]).std_error[g] * slope)
        return torch.stack(found)


def quantile_slope(curves: Curves, centre: Float[Tensor, "replicate"], n: Float[Tensor, "replicate"], quantile: float) -> Float[Tensor, "group replicate"]:
    """The time by which survival falls per unit of probability around the level `centre` (days): 1 over the density."""
    x = torch.special.ndtri(centre.clamp(1e-3, 1.0 - 1e-3))
    density = torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    # Not `**`: the last bit of torch's power depends on where in a tensor the number stands.
    h = torch.exp(torch.log(1.5 * density * density * quantile * quantile / ((2.0 * x * x + 1.0) * n)) / 3.0)
    up, down = (centre + h).clamp(max=1.0), torch.maximum(centre - h, curves.survival[..., -1])
    first = torch.where(up < 1.0, first_time_below(curves.time, curves.survival, up.expand_as(down)), 0.0)
    return (first_time_below(curves.time, curves.survival, down) - first) / (up - down)
