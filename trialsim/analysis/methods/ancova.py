"""Analysis of covariance: the difference in means adjusted for covariates, by least squares.

Columns (constant, covariates, arm) are made orthogonal one after the other, the arm last. With a the arm's residual on
the rest, y the value, e the residual of the whole fit, h_i the leverages and p the rank:

    difference = Σ a y / Σ a²,   se² = Σ e² / (n - p) / Σ a²,   HC2, HC3: se² = Σ a² e² / (1 - h)^{1, 2} / (Σ a²)²,

each with n - p degrees of freedom. Several test arms are levels of one model with one residual variance. `interaction: true`
adds every arm times every covariate, covariates centred at their mean over all arms, so that the arm's coefficient is still
the average difference; its standard error is a sandwich (HC2, unless `robust: hc3`). `contrast: {arm: score}` puts one column
of scores, a dose say, in the place of the arms: the estimate is the slope per unit of score. A covariate that is constant or a combination of earlier ones adds nothing and costs
no degree of freedom, as in R's `lm`; an arm that is one is a singular design. Patients with a missing value or covariate
are left out (complete cases).

**Source:** MacKinnon & White 1985 (doi 10.1016/0304-4076(85)90158-7) for HC2 and HC3; Björck 1996, section 2.4 (doi
10.1137/1.9781611971484) for modified Gram-Schmidt; Lin 2013 (doi 10.1214/12-AOAS583) for the interactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import NO_PATIENTS, NO_VARIANCE, SINGULAR, complete_cases, fail
from trialsim.records import Estimates, ValueData
from trialsim.units import Number

COLLINEAR = 1e-7  # what is left of a centred column, relative to its length: as R's lm
CONSTANT = 1e-12  # what centring leaves of a constant column
EXACT_FIT = 1e-24  # residual relative to total sum of squares


class Ancova(Analysis):
    """Difference in means adjusted for covariates; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("continuous",)
    takes = ValueData
    imputable: ClassVar[bool] = True
    scale: ClassVar[str | None] = "difference"
    std_error_scale: ClassVar[str | None] = "difference"
    takes_covariates: ClassVar[bool] = True
    joint: ClassVar[bool] = True

    method: Literal["ancova"] = Field(description="Analysis of covariance.")
    robust: Literal[False, "hc3", "hc2"] = Field(default=False, description="Classical standard errors, or heteroscedasticity-consistent ones.")
    interaction: bool = Field(
        default=False, description="Arm by covariate interactions, covariates centred; the standard error is then robust (hc2, or as `robust` says)."
    )
    contrast: dict[str, Number] | None = Field(default=None, description="Scores of the arms (doses): the estimate is the slope per unit of score.")

    @model_validator(mode="after")
    def _scores_of_every_arm(self) -> Self:
        if self.contrast is None:
            return self
        if self.interaction:
            raise ValueError("interaction and contrast cannot be combined")
        if self.treatment is not None and set(self.contrast) != {self.treatment.reference, *self.treatment.tests}:
            raise ValueError(f"contrast needs a score for each of {', '.join((self.treatment.reference, *self.treatment.tests))} and for no other arm")
        if len(set(self.contrast.values())) < 2:
            raise ValueError("contrast needs scores that differ")
        return self

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.contrast is not None and self.treatment is None:
            yield "contrast of ancova by an estimand (give endpoint and treatment)"

    def estimate(self, data: ValueData, *, favours: int) -> Estimates:  # type: ignore[override]
        """Adjusted difference in means, test minus reference, or the slope; see `Analysis.estimate`."""
        there = ~torch.isnan(data.value)
        complete = complete_cases(data.covariates)
        if complete is not None:
            there = there & complete
        present = there.to(torch.float64)
        n = present.sum(-1)
        basis = [present / n.sqrt()[:, None]]
        rank = torch.ones_like(n)
        leverage = 1.0 / n[:, None] * present
        *others, arm = self._columns(data, there, n)
        for column in others:
            direction, length = _orthogonal(column, basis)
            unit = direction * torch.where(length > 0, 1.0 / length, 0.0)[:, None]
            basis.append(unit)
            rank = rank + (length > 0)
            leverage = leverage + unit * unit
        arm, length = _orthogonal(arm, basis)
        squared = length * length
        rank = rank + (length > 0)
        leverage = leverage + arm * arm / squared[:, None]

        value = torch.where(there, data.value, 0.0)
        centred = _without(value, basis[:1])
        residual = _without(centred, basis[1:])
        difference = (arm * residual).sum(-1) / squared
        residual = residual - difference[:, None] * arm
        df = n - rank
        error = residual * residual
        robust = self.robust or ("hc2" if self.interaction else False)
        if robust:
            slack = torch.where(there, 1.0 - leverage, 1.0)
            each = arm * arm * error / (slack if robust == "hc2" else slack * slack)
            variance = each.sum(-1) / (squared * squared)
            lone = (slack < COLLINEAR).any(-1)
        else:
            variance = error.sum(-1) / df / squared
            lone = torch.zeros_like(n, dtype=torch.bool)
        failure = torch.zeros(len(n), dtype=torch.int8, device=n.device)
        failure = torch.where((df > 0) & (error.sum(-1) > EXACT_FIT * (centred * centred).sum(-1)), failure, NO_VARIANCE)
        failure = torch.where((length > 0) & ~lone, failure, SINGULAR)
        empty = ~(there & (data.group == 0)).any(-1) | ~(there & (data.group == 1)).any(-1)
        failure = torch.where(empty, NO_PATIENTS, failure)
        difference, std_error, df = fail(failure, difference, variance.sqrt(), df)
        return Estimates(statistic=favours * difference / std_error, n=there.sum(-1), failure=failure, df=df, estimate=difference, std_error=std_error)

    def _columns(self, data: ValueData, there: Bool[Tensor, "replicate patient"], n: Float[Tensor, "replicate"]) -> list[Tensor]:
        """Covariates, further arms, interactions, and the arm (or the score) last; zero for patients not in the analysis."""
        covariates = [torch.where(there, column, 0.0) for column in (() if data.covariates is None else data.covariates.unbind(-1))]
        if self.contrast is not None:
            assert self.treatment is not None, "a contrast needs the arms by name"
            scores = [float(self.contrast[arm]) for arm in (self.treatment.reference, *self.treatment.tests)]
            dose = torch.tensor(scores, dtype=torch.float64, device=n.device)[data.group.to(torch.int64)]
            return [*covariates, torch.where(there, dose, 0.0)]
        arms = [torch.where(there & (data.group == group), 1.0, 0.0).to(torch.float64) for group in (*range(2, data.n_groups), 1)]
        interactions = []
        if self.interaction:
            centred = [column - (column.sum(-1) / n)[:, None] for column in covariates]
            interactions = [arm * column for arm in arms for column in centred]
        return [*covariates, *arms[:-1], *interactions, arms[-1]]


def _without(column: Tensor, basis: list[Tensor]) -> Tensor:
    """The column less its projections on unit vectors, one after the other; [replicate, patient]."""
    for unit in basis:
        column = column - (unit * column).sum(-1)[:, None] * unit
    return column


def _orthogonal(column: Tensor, basis: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What the basis leaves of a column, and its length: 0 where the column is constant or collinear."""
    centred = _without(column, basis[:1])
    # A second pass restores what rounding took from orthogonality.
    direction = _without(_without(centred, basis[1:]), basis)
    whole, around, length = ((part * part).sum(-1).sqrt() for part in (column, centred, direction))
    sound = (around > CONSTANT * whole) & (length > COLLINEAR * around)
    return direction, torch.where(sound, length, 0.0)
