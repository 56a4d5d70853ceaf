"""Survival at a milestone: the difference of the arms' Kaplan-Meier estimates at one time.

The estimate is S1(t) - S0(t), its standard error √(V1 + V0) by Greenwood. `transform` says on which scale the arms'
survival is taken as normal, for the test and the interval:

    plain    z = (S1 - S0) / √(V1 + V0); the interval is estimate -/+ quantile x SE;
    log      z = (g1 - g0) / √(v1 + v0) with g = log S and v = G (`kaplan_meier`);
    log_log  the same with g = -log(-log S) and v = G / (log S)²;

for log and log_log the interval of the difference is made from the arms' own intervals on that scale (`mover`), so it stays
within -1 and 1 and is not symmetric. The test is not its exact inversion: near the bound they can disagree in a small
share of samples. Against a margin the test is Wald's of the difference, whatever the scale.

With 200 patients, half of them event-free, the tests keep their level. The log scale is conservative in small trials (one-sided
0.020 for 0.025 at 100
patients, 0.023 at 200); the plain interval covers a little less than it says (as Wald's of two proportions: 0.946 for 0.95).

Fails where an arm has no patients or its follow-up ends before the milestone with patients still event-free; without
variance: no event up to the milestone in either arm (plain, log), or in one arm (log_log, whose scale has no value at
S = 1); for log and log_log also where no one of an arm survives (S = 0). Covariates and strata are not handled.

**Source:** Klein et al. 2007 (doi 10.1002/sim.2864); Zou & Donner 2008 (doi 10.1002/sim.3095).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from scipy import special
from torch import Tensor

from trialsim.analysis.failures import FOLLOW_UP_ENDS, NO_VARIANCE, empty_arm, fail
from trialsim.analysis.kaplan_meier import SurvivalAt, Transform, kaplan_meier, survival_at, survival_interval
from trialsim.analysis.mover import difference_limits
from trialsim.analysis.survival_contrast import SurvivalContrast
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime


class Milestone(SurvivalContrast):
    """Difference in survival at a time; see the module."""

    scale: ClassVar[str | None] = "milestone_difference"
    std_error_scale: ClassVar[str | None] = "milestone_difference"

    method: Literal["milestone"] = Field(description="Survival at a milestone.")
    at: PositiveTime = Field(description="The milestone.")
    transform: Transform = Field(default="log_log", description="Scale of the test and the interval.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Survival, test minus reference; see `Analysis.estimate`. `favours` is about events: -1 when fewer are better."""
        curves = kaplan_meier(data)
        milestone = torch.full_like(curves.last_time[0], self.at)
        found = survival_at(curves, milestone)
        difference, std_error = found.survival[1] - found.survival[0], _root_of_sum(found.std_error)
        z = self._statistic(found)
        failure = torch.where(torch.isfinite(z) & (std_error > 0), torch.zeros_like(NO_VARIANCE), NO_VARIANCE)
        failure = torch.where(curves.ends(milestone)[:2].any(0), FOLLOW_UP_ENDS, failure)
        empty = empty_arm(data)
        failure = torch.where(empty != 0, empty, failure)
        difference, std_error, z = fail(failure, difference, std_error, -favours * z)
        low = high = None
        if self.transform != "plain":
            quantile = -float(special.ndtri(self.alpha_one_sided))
            limits = survival_interval(found.survival, found.log_std_error, transform=self.transform, quantile=quantile)
            low, high = difference_limits(found.survival[1], (limits[0][1], limits[1][1]), found.survival[0], (limits[0][0], limits[1][0]))
            low, high = fail(failure, low, high)
        there = data.time >= 0
        n, n_events = there.sum(-1), (data.event & there).sum(-1)
        return Estimates(statistic=z, n=n, failure=failure, n_events=n_events, estimate=difference, std_error=std_error, ci_low=low, ci_high=high)

    def _statistic(self, found: SurvivalAt) -> Float[Tensor, "replicate"]:
        """z, positive where the test arm survives longer."""
        survival, log_std_error = found.survival, found.log_std_error
        if self.transform == "plain":
            return (survival[1] - survival[0]) / _root_of_sum(found.std_error)
        log_survival = torch.log(survival)
        if self.transform == "log":
            return (log_survival[1] - log_survival[0]) / _root_of_sum(log_std_error)
        scaled = -torch.log(-log_survival)
        return (scaled[1] - scaled[0]) / _root_of_sum(log_std_error / log_survival)


def _root_of_sum(std_error: Float[Tensor, "group replicate"]) -> Float[Tensor, "replicate"]:
    return (std_error[0] * std_error[0] + std_error[1] * std_error[1]).sqrt()
