"""The Cox model with the arm as its only covariate, from counts at risk.

With one binary covariate the partial likelihood needs, at each event, only how many patients are at risk in each arm
(m0, m1; fractional under Efron's correction):

    U(b) = d1 - Σ p,   I(b) = Σ p (1 - p),   p = m1 / (m0 exp(-b) + m1),

d1 the events of the test arm. U falls in b, so a root is bracketed and Newton's steps are kept inside the bracket. The
estimate is finite exactly when some event of each arm happened while the other arm was at risk.

**Source:** Cox 1972 (doi 10.1111/j.2517-6161.1972.tb00899.x); ties as in `risk_sets`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.analysis.at_risk import at_risk, fits
from trialsim.analysis.failures import DID_NOT_CONVERGE, event_failures, fail
from trialsim.analysis.risk_sets import Ties, risk_sets
from trialsim.records import EventData

MAX_ITERATIONS = 100
SMALL_DECREMENT = 1e-18  # U²/I: the step left is 1e-9 standard errors


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """At each event the patients at risk in the reference and the test arm; 1 and 0 where there is no event."""

    reference: Float[Tensor, "replicate rank"]
    test: Float[Tensor, "replicate rank"]
    test_events: Float[Tensor, "replicate"]
    one_sided: Float[Tensor, "replicate"]
    """Zero where no event of an arm happened while the other was at risk: no finite estimate."""

    def score(self, log_hr: Float[Tensor, "replicate"]) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """U and I at a log hazard ratio."""
        p = self.test / (self.reference * torch.exp(-log_hr)[:, None] + self.test)
        expected = p.sum(-1)
        return self.test_events - expected, expected - (p * p).sum(-1)

    def log_likelihood_gain(self, log_hr: Float[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """log L(log_hr) - log L(0)."""
        ratio = (self.reference + self.test * torch.exp(log_hr)[:, None]) / (self.reference + self.test)
        return self.test_events * log_hr - torch.log(ratio).sum(-1)


@dataclass(frozen=True, slots=True)
class ArmFit:
    """The maximum of the partial likelihood. Where `failure` is not 0 the numbers are NaN."""

    estimate: Float[Tensor, "replicate"]
    std_error: Float[Tensor, "replicate"]
    failure: Int[Tensor, "replicate"]
    counts: ArmCounts


def cox_arm_only(data: EventData, *, ties: Ties = "efron") -> ArmFit:
    """The log hazard ratio of test against reference, with the strata of `data`; covariates are not looked at."""
    counts = arm_counts(data, ties=ties)
    failure = event_failures(data)
    failure = torch.where((failure == 0) & (counts.one_sided == 0), DID_NOT_CONVERGE, failure)
    active = failure == 0
    log_hr = torch.zeros_like(counts.test_events)
    low, high = torch.full_like(log_hr, -torch.inf), torch.full_like(log_hr, torch.inf)
    std_error = torch.full_like(log_hr, torch.nan)
    for _ in range(MAX_ITERATIONS):
        if not active.any():
            break
        u, information = counts.score(log_hr)
        step = u / information
        low, high = torch.where(u > 0, log_hr, low), torch.where(u < 0, log_hr, high)
        there = u * step < SMALL_DECREMENT
        proposal = log_hr + step.clamp(-2.0, 2.0)
        outside = ~((proposal > low) & (proposal < high)) & ~there
        proposal = torch.where(outside, 0.5 * (low + high), proposal)
        log_hr = torch.where(active, proposal, log_hr)
        std_error = torch.where(active & there, information.rsqrt(), std_error)
        active = active & ~there
    failure = torch.where(active, DID_NOT_CONVERGE, failure)
    log_hr, std_error = fail(failure, log_hr, std_error)
    return ArmFit(estimate=log_hr, std_error=std_error, failure=failure, counts=counts)


def score_at_log_hr(data: EventData, log_hr: float, *, ties: Ties = "efron") -> Float[Tensor, "replicate"]:
    """The partial-likelihood score of the arm at `log_hr`: positive exactly when the Cox estimate exceeds `log_hr`.

    Holds for infinite estimates too. Zero in a replicate without events.
    """
    counts = arm_counts(data, ties=ties)
    return counts.score(torch.full_like(counts.test_events, log_hr))[0]


def arm_counts(data: EventData, *, ties: Ties) -> ArmCounts:
    """Counts at risk at each event of every replicate."""
    event = data.event & (data.time >= 0)
    group = data.group.to(torch.int8)
    counted = EventData(data.time, event, group, data.stratum, data.n_strata)
    if not fits(counted):
        return _counts(*_by_risk_sets(counted, ties))
    risk = at_risk(counted)
    happened, arm, test = risk.event.to(torch.float64), risk.group.to(torch.float64), risk.test
    reference = risk.n - test
    if risk.tied.any():
        rows = risk.tied.nonzero()[:, 0]
        stratum = None if data.stratum is None else data.stratum[rows]
        exact = _by_risk_sets(EventData(data.time[rows], event[rows], group[rows], stratum, data.n_strata), ties)
        for target, mended in zip((happened, arm, reference, test), exact, strict=True):
            target[rows] = mended
    return _counts(happened, arm, reference, test)


def _by_risk_sets(data: EventData, ties: Ties) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layout = risk_sets(data.time, data.event, data.stratum if data.n_strata > 1 else None, ties=ties)
    there = (data.time >= 0).gather(-1, layout.order)
    arm = data.group.gather(-1, layout.order).to(torch.float64)
    return layout.event, arm, layout.at_risk((1.0 - arm) * there), layout.at_risk(arm * there)


def _counts(event: Tensor, arm: Tensor, reference: Tensor, test: Tensor) -> ArmCounts:
    test_event = event * arm
    other_at_risk_test = (test_event * (reference > 0)).sum(-1)
    other_at_risk_reference = ((event - test_event) * (test > 0)).sum(-1)
    return ArmCounts(
        reference=reference * event + (1.0 - event),
        test=test * event,
        test_events=test_event.sum(-1),
        one_sided=torch.minimum(other_at_risk_test, other_at_risk_reference),
    )
