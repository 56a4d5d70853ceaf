"""What the methods for repeated measures have in common: their options, and how an analysis becomes fits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.repeated_measures.contrasts import DegreesOfFreedom, arm_at_visit, estimate_contrast
from trialsim.analysis.repeated_measures.fitting import fit_repeated_measures, replicates_at_once
from trialsim.analysis.replicates import blocks, joined
from trialsim.analysis.visits_seen import by_visits_seen
from trialsim.records import Estimates, VisitData

VALUES_AT_ONCE = 500_000  # values of all visits


def _kind_of_robust(given: Any) -> Any:
    return "empirical" if given is True else given


class RepeatedMeasures(Analysis):
    """A contrast of two arms at one visit, from a model of all visits."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    takes = VisitData
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True
    constrained: ClassVar[bool] = False
    """Whether the baseline is among the visits, with equal means in all arms."""

    covariance: Literal[
        "unstructured",
        "ar1",
        "compound_symmetry",
        "toeplitz",
        "antedependence",
        "heterogeneous_ar1",
        "heterogeneous_compound_symmetry",
        "heterogeneous_toeplitz",
        "heterogeneous_antedependence",
    ] = Field(default="unstructured", description="Covariance of a patient's visits.")
    df: DegreesOfFreedom = Field(default="satterthwaite", description="Degrees of freedom of the contrast.")
    at: str | None = Field(default=None, description="The visit of the contrast; left out, the estimand's.")
    covariate_by_visit: bool = Field(default=False, description="A coefficient of every covariate at every visit, rather than one for all visits.")
    reml: bool = Field(default=True, description="Restricted maximum likelihood, rather than maximum likelihood.")
    robust: Annotated[Literal[False, "empirical", "bias_reduced", "jackknife"], BeforeValidator(_kind_of_robust)] = Field(
        default=False, description="Standard errors from the patients' residuals (sandwich), rather than from the model."
    )

    @model_validator(mode="after")
    def _kenward_roger_is_complete(self) -> Self:
        if self.df.startswith("kenward_roger") and self.robust:
            raise ValueError(f"df: {self.df} has standard errors of its own; leave robust out")
        if self.df.startswith("kenward_roger") and not self.reml:
            raise ValueError(f"df: {self.df} needs reml: true")
        return self

    def estimate(self, data: VisitData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Test minus reference at visit `data.at`; see `Analysis.estimate`."""
        return by_visits_seen(data, lambda seen: self._in_blocks(seen, favours))

    def _in_blocks(self, data: VisitData, favours: int) -> Estimates:
        return joined([self._estimate(data.of(rows), favours) for rows in blocks(len(data.value), self._block(data))])

    def _estimate(self, data: VisitData, favours: int) -> Estimates:
        fit = fit_repeated_measures(
            data, covariance=self.covariance, reml=self.reml, covariate_by_visit=self.covariate_by_visit, constrained=self.constrained
        )  # fmt: skip
        visit = data.at + (1 if self.constrained else 0)
        found = estimate_contrast(fit, arm_at_visit(fit, visit), df=self.df, robust=self.robust or None)
        return Estimates(
            statistic=favours * found.estimate / found.std_error,
            n=fit.design.there.sum(-1),
            failure=fit.failure,
            df=found.df,
            estimate=found.estimate,
            std_error=found.std_error,
        )

    def _block(self, data: VisitData) -> int:
        """How many replicates at a time, of their patients and of their sums. Numbers do not depend on it."""
        n_visits = data.value.shape[-1] + (1 if self.constrained else 0)
        covariates = 0 if data.covariates is None else data.covariates.shape[-1]
        n_columns = data.n_groups * n_visits + covariates * (n_visits if self.covariate_by_visit else 1)
        return min(replicates_at_once(n_visits, n_columns), VALUES_AT_ONCE // (data.value.shape[1] * n_visits))
