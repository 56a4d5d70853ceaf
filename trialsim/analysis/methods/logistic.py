"""Logistic regression of a binary endpoint on the arm and covariates: the conditional odds ratio, or a marginal effect.

    log odds P(y = 1) = b0 + covariates + b arm;   estimate b, SE from the information, z = b/se.

With `marginal: true` the effect is that of g-computation: the mean prediction of all patients under the test arm against
that under the reference arm, as a `measure` (difference by default), with the standard error of the stacked estimating
equations (`std_error: robust`) or of the delta method given model and covariates (`delta`). Several test arms are
levels of one model. Patients with a missing value or covariate are left out.

Fails without an event, without a non-event, where the arm is a combination of covariates, and under separation: where the
likelihood grows as the arm's coefficient does (an arm without events, or without non-events, and no covariate to prevent it).

**Source:** Cox 1958 (doi 10.1111/j.2517-6161.1958.tb00292.x); separation, Albert & Anderson 1984 (doi
10.1093/biomet/71.1.1); see `linear_predictor` and `standardisation`. Penalised (Firth) likelihood is not handled.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import COMPLETE_SEPARATION, DID_NOT_CONVERGE, NO_EVENTS, NO_PATIENTS, NO_VARIANCE, SINGULAR, fail
from trialsim.analysis.linear_predictor import Logit, design_of, maximise
from trialsim.analysis.standardisation import marginal_effect
from trialsim.records import Estimates, ValueData

LARGE = 8.0  # a linear predictor beyond is a fitted probability within 0.0004 of 0 or 1


class Logistic(Analysis):
    """Logistic regression, conditional or marginal; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("binary",)
    takes = ValueData
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    method: Literal["logistic"] = Field(description="Logistic regression.")
    marginal: bool = Field(default=False, description="Marginal effect by g-computation.")
    measure: Literal["difference", "ratio", "odds_ratio"] | None = Field(
        default=None, description="What is estimated; left out, the odds ratio, or with `marginal` the difference. Without `marginal` only the odds ratio."
    )
    std_error: Literal["robust", "delta"] = Field(
        default="robust", description="Of a marginal effect: robust to the model and counting the sampling of covariates, or the delta method given both."
    )

    @model_validator(mode="after")
    def _conditional_effects_are_odds_ratios(self) -> Self:
        if not self.marginal and self.measure not in (None, "odds_ratio"):
            raise ValueError(f"measure: {self.measure} of logistic needs marginal: true")
        return self

    @property
    def effect(self) -> Literal["difference", "ratio", "odds_ratio"]:
        """The measure, spelled out."""
        return self.measure or ("difference" if self.marginal else "odds_ratio")

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The natural scale of the estimate."""
        return {"difference": "difference", "ratio": "risk_ratio", "odds_ratio": "odds_ratio"}[self.effect]

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """The scale of inference."""
        return self.scale if self.effect == "difference" else f"log_{self.scale}"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Log odds ratio, or the marginal effect; see `Analysis.estimate`."""
        design, family = design_of(data), Logit()
        n, total = design.n, (design.y * design.there).sum(-1)
        fit = maximise(family, design, torch.log((total + 0.5) / (n - total + 0.5)))
        if self.marginal:
            estimate, std_error = marginal_effect(family, design, fit, measure=self.effect, robust=self.std_error == "robust")
        else:
            estimate, std_error = fit.coefficients[-1], fit.variance.sqrt()
        extreme = (design.eta(fit.coefficients).abs() > LARGE).any(-1)
        failure = torch.zeros(len(n), dtype=torch.int8, device=n.device)
        failure = torch.where(fit.converged, failure, torch.where(extreme, COMPLETE_SEPARATION, DID_NOT_CONVERGE))
        # Information vanishes as a coefficient runs away, too.
        failure = torch.where(fit.singular, torch.where(extreme, COMPLETE_SEPARATION, SINGULAR), failure)
        failure = torch.where(total == n, NO_VARIANCE, failure)
        failure = torch.where(total == 0, NO_EVENTS, failure)
        failure = torch.where((design.n_of(1) == 0) | (design.n_of(0) == 0), NO_PATIENTS, failure)
        estimate, std_error = fail(failure, estimate, std_error)
        return Estimates(statistic=favours * estimate / std_error, n=n.to(torch.int64), failure=failure, estimate=estimate, std_error=std_error)
