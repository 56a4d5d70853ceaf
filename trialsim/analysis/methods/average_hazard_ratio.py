"""The average hazard ratio up to tau, which has a meaning whether or not hazards are proportional.

The arms' hazards are averaged with the weight S1(t) S0(t) (Kalbfleisch & Prentice, α = 1):

    θ = ∫_0^τ S1 S0 dΛ1 / ∫_0^τ S1 S0 dΛ0 = ∫_0^τ S0 dF1 / ∫_0^τ S1 dF0
      = P(T1 < T0, T1 <= τ) / P(T0 < T1, T0 <= τ),

the odds that of two patients, one of each arm, the test patient has the event first. Under proportional hazards θ is the
hazard ratio, for every tau; otherwise it depends on tau but, unlike Cox's estimate, not on censoring. S and F are the
Kaplan-Meier estimates; a time that both arms share counts half for each side. With A and B the numerator and the
denominator, A(u) and B(u) their parts beyond u, and C = S1(τ) S0(τ) = 1 - A - B, the delta method gives

    Var log θ = ∫ ((C + B(u))/A + B(u)/B)² dG1(u) + ∫ ((C + A(u))/B + A(u)/A)² dG0(u),

G_g the sums of Greenwood's formula. The estimate is log θ, the test log θ / SE. Left out, tau is the smaller of the arms'
longest follow-up times in the data at hand.

Fails where an arm has no patients, no event up to tau while the other is at risk, or where an arm's follow-up ends before tau
with patients still event-free. Covariates and strata are not handled.

**Source:** Kalbfleisch & Prentice 1981 (doi 10.1093/biomet/68.1.105); Schemper, Wakounig & Heinze 2009 (doi 10.1002/sim.3623).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import FOLLOW_UP_ENDS, NO_EVENTS_IN_AN_ARM, empty_arm, fail
from trialsim.analysis.kaplan_meier import Curves, kaplan_meier
from trialsim.analysis.restricted_mean import default_tau
from trialsim.records import Estimates, EventData
from trialsim.units import PositiveTime


class AverageHazardRatio(Analysis):
    """Average hazard ratio; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")
    scale: ClassVar[str | None] = "average_hazard_ratio"
    std_error_scale: ClassVar[str | None] = "log_average_hazard_ratio"

    method: Literal["average_hazard_ratio"] = Field(description="Average hazard ratio.")
    tau: PositiveTime | None = Field(default=None, description="Up to which time; left out, the smaller of the arms' longest follow-up times.")

    def estimate(self, data: EventData, *, favours: int) -> Estimates:  # type: ignore[override]
        """The log of the average hazard ratio of test against reference; see `Analysis.estimate`."""
        curves = kaplan_meier(data)
        tau = default_tau(curves) if self.tau is None else torch.full_like(curves.last_time[0], self.tau)
        log_ratio, std_error = average_hazard_ratio(curves, tau)
        failure = torch.where(torch.isfinite(log_ratio) & (std_error > 0), torch.zeros_like(NO_EVENTS_IN_AN_ARM), NO_EVENTS_IN_AN_ARM)
        failure = torch.where(curves.ends(tau)[:2].any(0), FOLLOW_UP_ENDS, failure)
        empty = empty_arm(data)
        failure = torch.where(empty != 0, empty, failure)
        log_ratio, std_error, z = fail(failure, log_ratio, std_error, favours * log_ratio / std_error)
        there = data.time >= 0
        n, n_events = there.sum(-1), (data.event & there).sum(-1)
        return Estimates(statistic=z, n=n, failure=failure, n_events=n_events, estimate=log_ratio, std_error=std_error)


def average_hazard_ratio(curves: Curves, tau: Float[Tensor, "replicate"]) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """log θ and its standard error, of group 1 against group 0."""
    inside = (curves.time <= tau[:, None]).to(torch.float64)
    middle = 0.5 * (curves.survival + curves.before)
    falls = (curves.before - curves.survival) * inside
    test_first, reference_first = middle[0] * falls[1], middle[1] * falls[0]
    a, b = test_first.sum(-1, keepdim=True), reference_first.sum(-1, keepdim=True)
    a_beyond, b_beyond = a - test_first.cumsum(-1), b - reference_first.cumsum(-1)
    both_left = 1.0 - a - b
    steps = curves.steps * inside
    of_test, of_reference = (both_left + b_beyond) / a + b_beyond / b, (both_left + a_beyond) / b + a_beyond / a
    variance = (of_test * of_test * steps[1]).sum(-1) + (of_reference * of_reference * steps[0]).sum(-1)
    return (torch.log(a) - torch.log(b))[:, 0], variance.sqrt()
