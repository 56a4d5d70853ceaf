"""Standard errors of repeated measures from the patients' own residuals (the sandwich).

With w = Φ c and a_i = M_i X_i w the variance of a contrast is  Σ_i (a_i' (y_i - X_i β))²,  where, W_i = L L' the inverse of
the patient's covariance matrix Σ_i and B_i = I - L' X_i Φ X_i' L,

    empirical      M_i = W_i,
    bias_reduced   M_i = L B_i^-½ L'     (unbiased if Σ is right),
    jackknife      M_i = L B_i^-1 L' = (Σ_i - X_i Φ X_i')^-1     (near that of leaving patients out one by one).

Its degrees of freedom are Satterthwaite's for a quadratic form, if Σ is right: with G_ij = a_i' (δ_ij Σ_i - X_i Φ X_j') a_j,

    df = tr(G)² / tr(G²).

A patient who alone determines a coefficient has a singular B_i: the last two are then NaN.

**Source:** Liang & Zeger 1986 (doi 10.1093/biomet/73.1.13); Mancl & DeRouen 2001 (doi 10.1111/j.0006-341X.2001.00126.x) for
the jackknife; Bell & McCaffrey 2002 and Pustejovsky & Tipton 2018 (doi 10.1080/07350015.2016.1247004) for bias reduction and df;
the R package mmrm calls them Empirical, Empirical-Bias-Reduced and Empirical-Jackknife.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.repeated_measures.small_matrices import add_up, inner, invert, multiply
from trialsim.analysis.repeated_measures.sums import standardise

if TYPE_CHECKING:
    from trialsim.analysis.repeated_measures.fitting import Fit

Robust = Literal["empirical", "bias_reduced", "jackknife"]
ROOT_ITERATIONS = 25
SINGULAR_PIVOT = 1e-8


def robust_variance(fit: Fit, w: Float[Tensor, "column replicate"], kind: Robust) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """The variance of the contrast c with w = Φ c (standardised coefficients), and its degrees of freedom."""
    sums, design = fit.sums, fit.design
    x, y, *_ = standardise(design)
    seen = design.observed.movedim(-1, 0).to(x.dtype)  # visit replicate patient
    along = _by_patient(sums.spread(w), x) * seen  # X_i w
    residual = (y - _by_patient(sums.spread(fit.point.beta), x)) * seen
    both = seen[:, None] * seen[None]
    gaps = torch.diag_embed((1.0 - seen).movedim(0, -1)).movedim((-2, -1), (0, 1))
    sigma = fit.point.covariance.sigma[..., None] * both
    middle = invert(sigma + gaps)[0] * both
    if kind != "empirical":
        spread = sums.spread(sums.spread(fit.point.phi, 1), 0)
        lever = torch.zeros_like(sigma)
        for j in range(len(x)):
            for k in range(len(x)):
                lever += spread[j, :, k, :, :, None] * (x[j] * x[k])
        rest, pivots = invert((sigma - lever * both) + gaps)
        alone = (pivots / (sigma + gaps).diagonal().movedim(-1, 0) < SINGULAR_PIVOT) | torch.isnan(pivots)
        rest = torch.where(alone.any(0), torch.nan, rest * both)
        middle = rest if kind == "jackknife" else _root(sigma + gaps, rest + gaps) * both
    a = multiply(middle, along[:, None])[:, 0]
    terms = add_up(a * residual)
    d = add_up(a * multiply(sigma, a[:, None])[:, 0])
    columns = sums.collapse(x[:, None] * a[None])  # X_i' a_i
    square = torch.stack([(column * columns).sum(-1) for column in columns])
    weighted = multiply(fit.point.phi, square)
    turned = add_up(columns * multiply(fit.point.phi[..., None], columns[:, None])[:, 0])
    trace = d.sum(-1) - add_up(torch.stack([weighted[j, j] for j in range(len(weighted))]))
    squared = (d * d).sum(-1) - 2.0 * (d * turned).sum(-1) + inner(weighted, weighted.transpose(0, 1), 2)
    return (terms * terms).sum(-1), trace * trace / squared


def _by_patient(coefficients: Float[Tensor, "factor visit replicate"], x: Float[Tensor, "factor replicate patient"]) -> Tensor:
    return add_up(coefficients[..., None] * x[:, None])


def _root(sigma: Tensor, rest: Tensor) -> Tensor:
    """L B^-½ L' for Σ = (L L')^-1 and B = L' (rest)^-1 L: the geometric mean of W and `rest`.

    The geometric mean X of two matrices solves X Σ X = rest; Newton's iteration for it needs no square root of either.
    """
    one, other = rest, invert(sigma)[0]
    for _ in range(ROOT_ITERATIONS):
        one, other = 0.5 * (one + other), _parallel(one, other)
    return one


def _parallel(a: Tensor, b: Tensor) -> Tensor:
    """The harmonic mean 2 (a^-1 + b^-1)^-1."""
    return 2.0 * invert(invert(a)[0] + invert(b)[0])[0]
