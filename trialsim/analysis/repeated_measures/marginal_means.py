"""Estimated marginal means (least-squares means): the mean of every arm at every visit at the same covariate values.

By default the covariates are at their means over all values (rows of the data), as in SAS and R's emmeans for numbers; a
category there weighs its levels equally, which `covariates` can say: the indicators of K levels are then 1/K.

**Source:** Searle, Speed & Milliken 1980 (doi 10.1080/00031305.1980.10483031).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.repeated_measures.contrasts import DegreesOfFreedom, estimate_contrast
from trialsim.analysis.repeated_measures.fitting import Fit
from trialsim.analysis.repeated_measures.sandwich import Robust


@dataclass(frozen=True, slots=True)
class MarginalMeans:
    """Means, their standard errors and degrees of freedom; NaN where the fit failed."""

    mean: Float[Tensor, "replicate arm visit"]
    std_error: Float[Tensor, "replicate arm visit"]
    df: Float[Tensor, "replicate arm visit"]


def marginal_means(
    fit: Fit, *, covariates: Float[Tensor, "replicate covariate"] | None = None, df: DegreesOfFreedom = "satterthwaite", robust: Robust | None = None
) -> MarginalMeans:
    """The mean of every arm at every visit (the baseline first where it is among the visits)."""
    design = fit.design
    if covariates is None:
        covariates = _means_over_values(fit)
    found = []
    for arm in range(design.n_groups):
        for visit in range(design.n_visits):
            contrast = torch.zeros((design.n_columns, len(covariates)), dtype=covariates.dtype, device=covariates.device)
            place = k = 0
            for factor in design.factors:
                here = place + (visit - factor.from_visit if factor.by_visit else 0)
                if factor.name == "constant":
                    contrast[here] = 1.0
                elif factor.name.startswith("covariate"):
                    contrast[here] = covariates[:, k]
                    k += 1
                elif factor.name == f"arm {arm}" and visit >= factor.from_visit:
                    contrast[here] = 1.0
                place += factor.width(design.n_visits)
            found.append(estimate_contrast(fit, contrast, df=df, robust=robust))
    shape = (-1, design.n_groups, design.n_visits)
    return MarginalMeans(*(torch.stack([getattr(one, name) for one in found], dim=-1).reshape(shape) for name in ("estimate", "std_error", "df")))


def _means_over_values(fit: Fit) -> Float[Tensor, "replicate covariate"]:
    design = fit.design
    values = design.observed.sum(-1).to(design.x.dtype)
    total = values.sum(-1)
    of_covariates = [column for factor, column in zip(design.factors, design.x, strict=True) if factor.name.startswith("covariate")]
    means = [(column * values).sum(-1) / total for column in of_covariates]
    return torch.stack(means, dim=-1) if means else total[:, None][:, :0]
