"""Proportional-odds regression of an ordinal endpoint on the arm and covariates: the common odds ratio.

    log odds P(y > k) = -ζ_k + covariates + b arm   for every k;   estimate b, SE from the observed information, z = b/se.

A positive b goes with higher categories, whatever direction is good. With two categories this is logistic regression; without
covariates the score test of b is the rank-sum test. Several test arms are levels of one model. Patients with a missing value
or covariate are left out. Categories are whole numbers in their order; those that do not occur are no categories.

Fails where all patients are in one category, where an arm is empty, and where the likelihood grows as b does (separation).
A marginal effect is not handled.

**Source:** McCullagh 1980 (doi 10.1111/j.2517-6161.1980.tb01109.x); see `cumulative_logit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.cumulative_logit import OrdinalDesign, levels_of, maximise_ordinal
from trialsim.analysis.failures import COMPLETE_SEPARATION, DID_NOT_CONVERGE, NO_PATIENTS, NO_VARIANCE, SINGULAR, complete_cases, fail
from trialsim.analysis.linear_predictor import columns_of
from trialsim.analysis.normal_equations import combined
from trialsim.records import Estimates, ValueData

LARGE = 8.0  # a linear predictor beyond is an odds ratio of 3,000


class ProportionalOdds(Analysis):
    """Proportional-odds regression; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("ordinal",)
    takes = ValueData
    scale: ClassVar[str | None] = "odds_ratio"
    std_error_scale: ClassVar[str | None] = "log_odds_ratio"
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    method: Literal["proportional_odds"] = Field(description="Proportional odds.")
    marginal: bool = Field(default=False, description="Marginal effect by g-computation.")

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.marginal:
            yield "marginal: true of proportional_odds"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log odds ratio of higher categories; see `Analysis.estimate`."""
        there = ~torch.isnan(data.value)
        complete = complete_cases(data.covariates)
        if complete is not None:
            there = there & complete
        level, n_levels = levels_of(data.value, there)
        _, *columns = columns_of(data.group, data.covariates, there, data.n_groups)
        design = OrdinalDesign(x=torch.stack(columns), level=level, there=there, n_levels=n_levels)
        fit = maximise_ordinal(design)
        extreme = (combined(fit.coefficients, design.x).abs() > LARGE).any(-1)
        failure = torch.zeros(len(level), dtype=torch.int8, device=level.device)
        failure = torch.where(fit.converged, failure, torch.where(extreme, COMPLETE_SEPARATION, DID_NOT_CONVERGE))
        singular = fit.factor.pivots[-1] == 0  # information vanishes as a coefficient runs away, too
        failure = torch.where(singular, torch.where(extreme, COMPLETE_SEPARATION, SINGULAR), failure)
        failure = torch.where(n_levels < 2, NO_VARIANCE, failure)
        empty = ~(there & (data.group == 0)).any(-1) | ~(there & (data.group == 1)).any(-1)
        failure = torch.where(empty, NO_PATIENTS, failure)
        estimate, std_error = fail(failure, fit.coefficients[-1], fit.variance.sqrt())
        return Estimates(statistic=favours * estimate / std_error, n=there.sum(-1), failure=failure, estimate=estimate, std_error=std_error)
