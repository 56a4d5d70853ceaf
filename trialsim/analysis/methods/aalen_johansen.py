"""The difference in cumulative incidence of one cause at a time, test minus reference, by Aalen-Johansen's estimate.

z is the difference over the root of the arms' summed variances; `variance` names which (see `cumulative_incidence`). Follow-up that
ended with an event of another cause is in `competing`; without competing events the incidence is 1 - Kaplan-Meier. `at` left out
is the shorter of the two arms' longest follow-up times, replicate by replicate: a time that depends on the data, for description
rather than for a planned test.

A replicate fails where an arm's curve is not known at `at` (follow-up ends before) or an arm has no event of the cause.

**Source:** Aalen & Johansen 1978 (Scand J Stat 5:141); see `cumulative_incidence`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from trialsim.analysis.analysis import Analysis, Cause, EndpointType
from trialsim.analysis.cause_table import cause_table
from trialsim.analysis.cumulative_incidence import IncidenceVariance, incidence_at
from trialsim.analysis.failures import event_failures, fail
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime

NO_VARIANCE, NO_EVENTS_IN_AN_ARM, FOLLOW_UP_ENDS = 3, 6, 9


class AalenJohansen(Analysis):
    """Cumulative incidence of one cause at a time; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")
    takes = EventData
    scale: ClassVar[str | None] = "cumulative_incidence_difference"
    std_error_scale: ClassVar[str | None] = "cumulative_incidence_difference"

    method: Literal["aalen_johansen"] = Field(description="Cumulative incidence.")
    cause: Cause | None = Field(default=None, description="The outcome that is the cause of interest; in data, also its code.")
    at: PositiveTime | None = Field(default=None, description="At which time; left out, the last time both arms are followed to.")
    variance: IncidenceVariance = Field(default="aalen", description="Aalen's variance, the multinomial (Greenwood's), or the infinitesimal jackknife.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """F(at) of the test arm minus that of the reference arm; see `Analysis.estimate`."""
        table = cause_table(data)
        last = table.last_time()[:2].amin(0)
        at = last if self.at is None else torch.full_like(last, float(self.at))
        (f0, v0), (f1, v1) = (incidence_at(table, group, at, variance=self.variance) for group in (0, 1))
        difference, variance = f1 - f0, v1 + v0
        failure = event_failures(data)
        failure = torch.where((failure == 0) & torch.isnan(difference), FOLLOW_UP_ENDS, failure)
        failure = torch.where((failure == 0) & ((f0 == 0) | (f1 == 0)), NO_EVENTS_IN_AN_ARM, failure)
        failure = torch.where((failure == 0) & ~(variance > 0), NO_VARIANCE, failure)
        std_error = variance.sqrt()
        statistic, difference, std_error = fail(failure, favours * difference / std_error, difference, std_error)
        there = data.time >= 0
        return Estimates(
            statistic=statistic,
            n=there.sum(-1),
            failure=failure,
            n_events=(data.event & there).sum(-1),
            estimate=difference,
            std_error=std_error,
        )
