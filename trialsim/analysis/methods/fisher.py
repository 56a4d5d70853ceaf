"""Fisher's exact test of two proportions, with the conditional odds ratio and its exact interval.

Given both margins the responders of the test arm follow the hypergeometric law. One-sided: P(at least as many, or as few,
in favour of the test arm). Two-sided: the sum of the probabilities of all tables no likelier than the observed one. The
estimate is the odds ratio of greatest conditional likelihood, SE from its information; the limits put alpha one-sided into
each tail, so that a two-sided p-value and the interval can disagree, as in R's `fisher.test`.

A table at the end of its range has an infinite odds ratio and a test. Where all patients respond, or none does, p is 1 and
the odds ratio does not exist. `statistic` is the z whose p-value is the exact one. Under a margin the test is exact, too.

**Source:** Fisher 1935 (doi 10.2307/2342435); see `noncentral_hypergeometric`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.analysis import two_by_two
from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.exact_statistic import from_tails, from_two_sided
from trialsim.analysis.failures import NO_PATIENTS, fail
from trialsim.analysis.noncentral_hypergeometric import Support
from trialsim.records import Estimates, ValueData


class Fisher(Analysis):
    """Fisher's exact test; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("binary",)
    takes = ValueData
    scale: ClassVar[str | None] = "odds_ratio"
    std_error_scale: ClassVar[str | None] = "log_odds_ratio"

    method: Literal["fisher"] = Field(description="Fisher's exact test.")

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Conditional log odds ratio, exact interval and test; see `Analysis.estimate`."""
        table, there = two_by_two.counted(data.value, data.group)
        support = Support.of(table)
        zero = torch.zeros_like(table.x1)
        if self.sides == 1:
            statistic = _one_sided(support, zero, favours)
        else:
            more = support.at_least(zero) < support.at_most(zero)
            statistic = favours * from_two_sided(support.as_unlikely(), torch.where(more, 1.0, -1.0).to(torch.float64))
        estimate = support.estimate()
        finite = torch.where(torch.isfinite(estimate), estimate, zero)
        std_error = torch.where(torch.isinf(estimate), torch.inf, support.moments(finite)[1].rsqrt())
        low, high = support.limits(self.alpha_one_sided)
        failure = torch.zeros(len(zero), dtype=torch.int8, device=zero.device)
        failure = torch.where((table.n1 == 0) | (table.n0 == 0), NO_PATIENTS, failure)
        statistic, estimate, std_error, low, high = fail(failure, statistic, estimate, std_error, low, high)
        return Estimates(statistic=statistic, n=there.sum(-1), failure=failure, estimate=estimate, std_error=std_error, ci_low=low, ci_high=high)

    def statistic_at(self, data: ValueData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:  # type: ignore[override]
        """The exact one-sided test of a log odds ratio of `value`; see `Analysis.statistic_at`."""
        support = Support.of(two_by_two.counted(data.value, data.group)[0])
        return _one_sided(support, torch.full_like(support.lowest, value), favours)


def _one_sided(support: Support, log_odds_ratio: Tensor, favours: int) -> Float[Tensor, "replicate"]:
    if favours == 1:
        return from_tails(support.at_least(log_odds_ratio), support.below(log_odds_ratio))
    return from_tails(support.at_most(log_odds_ratio), support.above(log_odds_ratio))
