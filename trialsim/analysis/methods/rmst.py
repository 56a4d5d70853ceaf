"""Restricted mean survival time: the difference, or the ratio, of the arms' areas under the survival curve up to tau.

With μ and V of each arm (`restricted_mean`), test minus reference,

    difference:  μ1 - μ0 (days),         SE² = V1 + V0;
    ratio:       log μ1 - log μ0,        SE² = V1/μ1² + V0/μ0²;

the test is estimate/SE, normal; it favours the test arm when the time without the event is longer (for events that are
bad). Left out, tau is the smaller of the arms' longest follow-up times in the data at hand. The same numbers as `survRM2`.

Fails where an arm has no patients, where an arm's follow-up ends before tau with patients still event-free, and without
events before tau (no variance). Covariates and strata are not handled.

**Source:** Royston & Parmar 2013 (doi 10.1186/1471-2288-13-152); Uno et al. 2014 (doi 10.1200/JCO.2014.55.2208).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from trialsim.analysis.failures import FOLLOW_UP_ENDS, NO_VARIANCE, empty_arm, fail
from trialsim.analysis.kaplan_meier import kaplan_meier
from trialsim.analysis.restricted_mean import default_tau, restricted_mean
from trialsim.analysis.survival_contrast import SurvivalContrast
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime


class Rmst(SurvivalContrast):
    """Difference or ratio of restricted mean survival times; see the module."""

    method: Literal["rmst"] = Field(description="Restricted mean survival time.")
    tau: PositiveTime | None = Field(default=None, description="The restriction time; left out, the smaller of the arms' longest follow-up times.")
    measure: Literal["difference", "ratio"] = Field(default="difference", description="What is estimated.")

    @property
    def scale(self) -> str:  # type: ignore[override]
        """A difference in days, or a ratio."""
        return f"rmst_{self.measure}"

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """Days, or the log of the ratio."""
        return "rmst_difference" if self.measure == "difference" else "log_rmst_ratio"

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Restricted means, test minus reference; see `Analysis.estimate`. `favours` is about events: -1 when fewer are better."""
        curves = kaplan_meier(data)
        tau = default_tau(curves) if self.tau is None else torch.full_like(curves.last_time[0], self.tau)
        mean, variance = restricted_mean(curves, tau)
        if self.measure == "ratio":
            variance = variance / (mean * mean)
            mean = torch.log(mean)
        difference, std_error = mean[1] - mean[0], (variance[1] + variance[0]).sqrt()
        failure = torch.where(std_error > 0, torch.zeros_like(NO_VARIANCE), NO_VARIANCE)
        failure = torch.where(curves.ends(tau)[:2].any(0), FOLLOW_UP_ENDS, failure)
        empty = empty_arm(data)
        failure = torch.where(empty != 0, empty, failure)
        difference, std_error, z = fail(failure, difference, std_error, -favours * difference / std_error)
        there = data.time >= 0
        n, n_events = there.sum(-1), (data.event & there).sum(-1)
        return Estimates(statistic=z, n=n, failure=failure, n_events=n_events, estimate=difference, std_error=std_error)
