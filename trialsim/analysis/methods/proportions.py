"""Two proportions: their difference, ratio or odds ratio, by a test and an interval of choice.

    pooled      z = (p̂1 - p̂0) / √(p̂ q̂ (1/n1 + 1/n0)), whatever the measure
    unpooled    the estimate over its own standard error (Wald; log scale for ratios)
    farrington_manning, miettinen_nurminen   the score statistic (see `two_by_two`)

At no effect Farrington and Manning's is the pooled test. Intervals: `wald` (binomial, Katz, Woolf), `wilson` and
`clopper_pearson` (both arms' intervals combined: Newcombe's method), `agresti_caffo` (differences), `farrington_manning` and
`miettinen_nurminen` (by score). Left out, it is Wald's, or the score interval where that test is Miettinen and Nurminen's.

`std_error` is the unpooled one. A ratio with no responder in one arm is infinite: its score and pooled tests stand, Wald's
fails. All patients alike: the test fails for want of variance. Strata and covariates are not handled (`cmh`, `logistic`).

**Source:** see `two_by_two`; tests compared in Fagerland, Lydersen & Laake 2015 (doi 10.1177/0962280211415469).
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.special import ndtri
from torch import Tensor

from trialsim.analysis import two_by_two
from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import COMPLETE_SEPARATION, NO_EVENTS_IN_AN_ARM, NO_PATIENTS, NO_VARIANCE, fail
from trialsim.analysis.two_by_two import Limits, Table
from trialsim.records import Estimates, ValueData

Interval = Literal["wald", "wilson", "clopper_pearson", "miettinen_nurminen", "farrington_manning", "agresti_caffo"]


class Proportions(Analysis):
    """Comparison of two proportions; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("binary",)
    takes = ValueData

    method: Literal["proportions"] = Field(description="Two proportions.")
    measure: Literal["difference", "ratio", "odds_ratio"] = Field(default="difference", description="What is estimated.")
    test: Literal["pooled", "unpooled", "miettinen_nurminen", "farrington_manning"] = Field(default="pooled", description="Which variance the test uses.")
    interval: Interval | None = Field(default=None, description="Which interval; left out, wald, or miettinen_nurminen where that is the test.")

    @model_validator(mode="after")
    def _margin_needs_restricted_variance(self) -> Self:
        if self.margin is not None and self.test == "pooled":
            raise ValueError("test: pooled cannot be used with a margin; use farrington_manning")
        if self.interval == "agresti_caffo" and self.measure != "difference":
            raise ValueError("interval: agresti_caffo is of a difference")
        return self

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The natural scale of the estimate."""
        return {"difference": "difference", "ratio": "risk_ratio", "odds_ratio": "odds_ratio"}[self.measure]

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """The scale of inference."""
        return self.scale if self.measure == "difference" else f"log_{self.scale}"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """The effect, its test and interval; see `Analysis.estimate`."""
        table, there = two_by_two.counted(data.value, data.group)
        # All patients alike say nothing against equality and something against a margin.
        statistic = favours * self._statistic(table, -favours * self.allowed_loss)
        estimate = two_by_two.effect(table, self.measure)
        std_error = two_by_two.unpooled_variance(table, self.measure).sqrt()
        failure = torch.zeros(len(statistic), dtype=torch.int8, device=statistic.device)
        failure = torch.where(torch.isnan(statistic), NO_VARIANCE, failure)
        if self.test == "unpooled" and self.measure != "difference":
            failure = torch.where((table.x1 == table.n1) | (table.x0 == table.n0), COMPLETE_SEPARATION, failure) if self.measure == "odds_ratio" else failure
            failure = torch.where((table.x1 == 0) | (table.x0 == 0), NO_EVENTS_IN_AN_ARM, failure)
        failure = torch.where((table.n1 == 0) | (table.n0 == 0), NO_PATIENTS, failure)
        statistic, estimate, std_error = fail(failure, statistic, estimate, std_error)
        limits = self._limits(table)
        low, high = (None, None) if limits is None else fail(failure, *limits)
        return Estimates(statistic=statistic, n=there.sum(-1), failure=failure, estimate=estimate, std_error=std_error, ci_low=low, ci_high=high)

    def statistic_at(self, data: ValueData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:  # type: ignore[override]
        """The chosen test of an effect of `value`; see `Analysis.statistic_at`."""
        table, _ = two_by_two.counted(data.value, data.group)
        return favours * self._statistic(table, value)

    def _statistic(self, table: Table, value: float) -> Float[Tensor, "replicate"]:
        """Positive where the effect is larger than `value`."""
        if self.test == "pooled":
            p = (table.x1 + table.x0) / (table.n1 + table.n0)
            return (table.p1 - table.p0) * (p * (1.0 - p) * (1.0 / table.n1 + 1.0 / table.n0)).rsqrt()
        if self.test == "unpooled":
            return (two_by_two.effect(table, self.measure) - value) * two_by_two.unpooled_variance(table, self.measure).rsqrt()
        return two_by_two.score(table, self.measure, torch.full_like(table.x1, value), corrected=self.test == "miettinen_nurminen")

    def _limits(self, table: Table) -> Limits | None:
        interval = self.interval or ("miettinen_nurminen" if self.test == "miettinen_nurminen" else "wald")
        alpha = self.alpha_one_sided
        quantile = float(-ndtri(alpha))
        if interval == "wald":
            return None
        if interval == "agresti_caffo":
            return two_by_two.agresti_caffo(table, quantile=quantile)
        if interval == "wilson":
            return two_by_two.recovered(table, self.measure, lambda x, n: two_by_two.wilson(x, n, quantile=quantile))
        if interval == "clopper_pearson":
            return two_by_two.recovered(table, self.measure, lambda x, n: two_by_two.clopper_pearson(x, n, alpha_one_sided=alpha))
        return two_by_two.score_interval(table, self.measure, quantile=quantile, corrected=interval == "miettinen_nurminen")
