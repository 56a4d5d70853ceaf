"""The joint normal law of a patient's visits as a chain of regressions, and draws of its parameters.

The value at visit t given the earlier ones is normal:

    y_t = x' alpha_t + sum_{s < t} phi_ts y_s + sigma_t e,      x = (1, arm indicators, covariates),

which is the same model as one multivariate normal law with its own coefficients at every visit and an unstructured
covariance. For values missing from some visit on (monotone), the likelihood factors over the visits, and under the prior
p(alpha, phi, sigma) ~ 1 / sigma^2 the posterior of each regression is exact: sigma^2 = RSS / chi^2(n - p), coefficients normal
around the least squares estimate.

**Source:** Rubin 1987, section 5.4 (doi 10.1002/9780470316696); Schafer 1997, section 6.5 (doi 10.1201/9780367803025).
Least squares by modified Gram-Schmidt; a column that earlier ones explain has coefficient 0 and costs no degree of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import special
from torch import Tensor

COLLINEAR = 1e-14
"""What is left of a column's sum of squares when earlier columns explain it."""


@dataclass(frozen=True, slots=True)
class Regression:
    """Least squares of one visit on the columns before it: y = sum_j c_j q_j + e, x_k = sum_{j <= k} r_jk q_j (+ nothing).

    `scores` c and `triangle` r refer to orthonormal columns; a column without rank has r_kk = 0 and c_k = 0.
    """

    scores: list[Float[Tensor, "row"]]
    triangle: list[list[Float[Tensor, "row"]]]
    residual: Float[Tensor, "row"]
    df: Float[Tensor, "row"]

    @property
    def n_columns(self) -> int:
        """How many columns it has, with or without rank."""
        return len(self.scores)


def regress(y: Float[Tensor, "row patient"], columns: list[Float[Tensor, "row patient"]], there: Bool[Tensor, "row patient"]) -> Regression:
    """Regress y on the columns among the patients who are there."""
    zero = torch.zeros((), dtype=torch.float64, device=y.device)
    left = torch.where(there, y, zero)
    n = there.sum(-1).to(torch.float64)
    work = [torch.where(there, column, zero) for column in columns]
    triangle: list[list[Tensor]] = [[] for _ in columns]
    scores: list[Tensor] = []
    rank = torch.zeros_like(n)
    for k, column in enumerate(work):
        whole = (column * column).sum(-1)
        for j in range(k):
            along = (work[j] * column).sum(-1)
            triangle[k].append(along)
            column = column - along[:, None] * work[j]
        square = (column * column).sum(-1)
        has_rank = square > COLLINEAR * whole
        length = torch.where(has_rank, square.sqrt(), torch.ones_like(square))
        work[k] = torch.where(has_rank[:, None], column / length[:, None], zero)
        triangle[k].append(torch.where(has_rank, length, torch.zeros_like(length)))
        score = (work[k] * left).sum(-1)
        scores.append(score)
        left = left - score[:, None] * work[k]
        rank = rank + has_rank
    return Regression(scores=scores, triangle=triangle, residual=(left * left).sum(-1), df=n - rank)


def coefficients(fit: Regression, scores: list[Float[Tensor, "row ..."]]) -> list[Float[Tensor, "row ..."]]:
    """Coefficients of the columns whose scores on the orthonormal ones these are: back substitution."""
    found: list[Tensor] = [torch.zeros(()) for _ in scores]
    for k in reversed(range(fit.n_columns)):
        rest = scores[k]
        for later in range(k + 1, fit.n_columns):
            rest = rest - _like(fit.triangle[later][k], rest) * found[later]
        pivot = _like(fit.triangle[k][k], rest)
        found[k] = torch.where(pivot > 0, rest / torch.where(pivot > 0, pivot, torch.ones_like(pivot)), torch.zeros_like(rest))
    return found


def _like(number: Float[Tensor, "row"], other: Tensor) -> Tensor:
    return number.reshape(number.shape + (1,) * (other.dim() - 1))


@dataclass(frozen=True, slots=True)
class Parameters:
    """Draws (or one estimate) of one visit's regression: coefficients in the order of its columns, and sigma. `[row, draw]`."""

    coefficients: list[Float[Tensor, "row draw"]]
    sigma: Float[Tensor, "row draw"]


def draw(fit: Regression, normal: Float[Tensor, "row draw column"], uniform: Float[Tensor, "row draw"]) -> Parameters:
    """Parameters of the posterior: sigma^2 = RSS / chi^2(df) with the chi-squared by inverse CDF, then the coefficients."""
    df = fit.df.clamp(min=1.0)[:, None]
    chi_square = torch.from_numpy(np.asarray(special.chdtri(df.cpu().numpy(), uniform.cpu().numpy()))).to(uniform.device)
    sigma = (fit.residual[:, None] / chi_square).sqrt()
    scores = [
        torch.where(fit.triangle[k][k][:, None] > 0, score[:, None] + sigma * normal[..., k], torch.zeros_like(sigma)) for k, score in enumerate(fit.scores)
    ]
    return Parameters(coefficients=coefficients(fit, scores), sigma=sigma)
