"""Marginal effects by g-computation: every patient's prediction under the test and under the reference arm, averaged.

With m1, m0 the means of the predictions over all patients of the analysis, the effect is m1 - m0, log m1/m0 or the log
odds ratio. Its standard error is that of the stacked estimating equations: the influence of patient i on m_a is

    (μ_a(x_i) - m_a)/n + (G_a' I⁻¹ x_i) r_i,   G_a = mean of dμ_a/db,   r_i the residual,

which counts the sampling of covariates and holds if the regression is misspecified (`robust`), or the delta method g'I⁻¹g
given the covariates and the model. With a canonical link and randomisation the difference is consistent whatever the
true regression.

**Source:** Freedman 2008 (doi 10.1214/08-STS262); Ge et al. 2011 (doi 10.1177/009286151104500409) for the delta method;
Stefanski & Boos 2002 (doi 10.1198/000313002753631330) for stacked equations; FDA guidance on covariates, May 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.linear_predictor import Design, Family, Fit
from trialsim.analysis.normal_equations import combined, dot

Measure = Literal["difference", "ratio", "odds_ratio"]


def marginal_effect(
    family: Family, design: Design, fit: Fit, *, measure: Measure, robust: bool
) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """The effect on the scale of inference and its standard error. Offsets are left out: rates are per unit of exposure."""
    n, n_arms = design.n, design.n_groups - 1
    first_arm = len(design.x) - n_arms
    base = combined(fit.coefficients[:first_arm], design.x[:first_arm])
    means, gradients, spreads = [], [], []
    for arm in (0, 1):
        mu, slope = family.mean(base + arm * fit.coefficients[-1][:, None])
        slope = slope * design.there
        mean = (mu * design.there).sum(-1) / n
        gradient = torch.zeros_like(fit.coefficients)
        gradient[:first_arm] = (design.x[:first_arm] * slope).sum(-1) / n
        if arm:
            gradient[-1] = slope.sum(-1) / n
        means.append(mean)
        gradients.append(gradient)
        spreads.append((mu - mean[:, None]) * design.there / n[:, None])
    if measure == "difference":
        effect, per_unit = means[1] - means[0], (torch.ones_like(n), torch.ones_like(n))
    elif measure == "ratio":
        effect, per_unit = torch.log(means[1] / means[0]), (1.0 / means[0], 1.0 / means[1])
    else:
        odds = [mean / (1.0 - mean) for mean in means]
        effect = torch.log(odds[1] / odds[0])
        per_unit = (1.0 / (means[0] * (1.0 - means[0])), 1.0 / (means[1] * (1.0 - means[1])))
    direction = per_unit[1] * gradients[1] - per_unit[0] * gradients[0]
    if not robust:
        return effect, dot(direction, fit.factor.solve(direction)).sqrt()
    influence = per_unit[1][:, None] * spreads[1] - per_unit[0][:, None] * spreads[0] + fit.influence(direction, design.x)
    return effect, (influence * influence).sum(-1).sqrt()
