"""The restricted (or full) likelihood of repeated measures, its slope and curvature, many replicates at a time.

With S_o(β) = Σ (y - Xβ)(y - Xβ)' over the patients of pattern o, W_o the inverse of the rows and columns of Σ that o has
(zero elsewhere), A = Σ X' W X, Φ = A^-1 and β = Φ Σ X' W y, and without T_o and log|A| for maximum likelihood,

    -2 l = Σ_o [ n_o log|Σ_o| + tr(W_o S_o) ] + log|A| + const,       T_o = Σ X Φ X' over the pattern's patients,
    ∂(-2 l)/∂θ_r = tr(G Σ_r),   G = Σ_o [ n_o W_o - M_o ],   M_o = W_o (S_o + T_o) W_o,
    ∂²(-2 l)/∂θ_r∂θ_s = Σ_o [ 2 tr(M_o Σ_r W_o Σ_s) - n_o tr(W_o Σ_r W_o Σ_s) ] - 2 e_r' Φ e_s - tr(Φ P_r Φ P_s) + tr(G Σ_rs),
    e_r = Σ X' W Σ_r W (y - Xβ),     P_r = Σ X' W Σ_r W X.

The sums behind these are taken over pairs of visits first and then carried to θ by the Jacobian of Σ. `tr(Φ P_r Φ P_s)` costs
more than everything else; while iterating, n_columns / (n_visits n) Σ_o n_o tr(W_o Σ_r W_o Σ_s) stands for it, which it equals
when nothing is missing and every coefficient has a visit.

**Source:** Patterson & Thompson 1971 (doi 10.1093/biomet/58.3.545); Lindstrom & Bates 1988 (doi
10.1080/01621459.1988.10478693); derivatives as in Kenward & Roger 1997 (doi 10.2307/2533558).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.repeated_measures.covariance import Covariance, Structure
from trialsim.analysis.repeated_measures.small_matrices import add_up, apply, inner, invert, multiply, outer_sum, over_patterns
from trialsim.analysis.repeated_measures.sums import Sums


@dataclass(frozen=True, slots=True)
class Point:
    """The likelihood at some θ. `deviance` is -2 l without its constant; NaN where Σ is not positive definite.

    `phi` is zero in rows and columns of coefficients that cannot be estimated.
    """

    deviance: Float[Tensor, "replicate"]
    gradient: Float[Tensor, "parameter replicate"]
    hessian: Float[Tensor, "parameter parameter replicate"]
    beta: Float[Tensor, "column replicate"]
    phi: Float[Tensor, "column column replicate"]
    inverse: Float[Tensor, "visit visit pattern replicate"]
    """W_o."""
    jacobian: Float[Tensor, "parameter pair replicate"]
    covariance: Covariance


def evaluate(
    theta: Float[Tensor, "parameter replicate"], sums: Sums, structure: Structure, kept: Float[Tensor, "column replicate"], *, reml: bool, exact: bool
) -> Point:
    """The likelihood and its derivatives; `exact` false: the hessian with the approximation above."""
    n_o = sums.xx[0, 0]
    covariance = structure.at(theta)
    inverse, log_determinant = _pattern_inverses(covariance.sigma, sums.seen)
    precision = sums.collapse(sums.collapse(_precision(sums.xx, inverse), 2), 0)
    both = kept[:, None] * kept[None]
    phi, pivots = invert(precision * both + torch.diag_embed((1.0 - kept).T).movedim(0, -1))
    phi = phi * both
    beta = apply(phi, sums.collapse(over_patterns(multiply(sums.xy, inverse))))
    full = sums.spread(beta)[:, :, None]

    left = multiply(sums.xx, full)
    cross = multiply(full.transpose(0, 1), sums.xy)
    square = sums.yy - cross - cross.transpose(0, 1) + multiply(full.transpose(0, 1), left)
    fitted = add_up(add_up(over_patterns(inverse * square)))
    deviance = over_patterns(n_o * log_determinant) + fitted
    if reml:
        spread = sums.spread(sums.spread(phi, 1), 0)  # factor visit factor visit replicate
        square = square + _between(sums.xx, spread)
        deviance = deviance + add_up(pivots.log())
    middle = multiply(multiply(inverse, square), inverse)
    pull = over_patterns(n_o * inverse - middle)
    jacobian = covariance.jacobian()
    gradient = apply(jacobian, _entries(structure, pull))

    extra = len(beta) / sums.n_visits / sums.n_patients if reml and not exact else torch.zeros_like(deviance)
    hessian = pairwise_traces(structure, inverse, 2.0 * middle - n_o * (1.0 + extra) * inverse)
    residual = sums.xy - left  # factor visit pattern replicate: Σ x (y - Xβ)'
    errors = _errors(sums, structure, inverse, residual)
    errors = chain(jacobian, errors)
    hessian = chain(jacobian, chain(jacobian, hessian).transpose(0, 1))
    hessian = hessian - 2.0 * multiply(errors, multiply(phi, errors.transpose(0, 1)))
    if reml and exact:
        hessian = hessian - _trace_of_products(sums, structure, inverse, phi, jacobian)
    hessian = hessian + covariance.second_along(pull)
    return Point(
        deviance=deviance, gradient=gradient, hessian=hessian, beta=beta, phi=phi, inverse=inverse, jacobian=jacobian, covariance=covariance
    )  # fmt: skip


def expected_hessian(point: Point, sums: Sums, structure: Structure) -> Float[Tensor, "parameter parameter replicate"]:
    """About the hessian's expectation, Σ_o n_o tr(W_o Σ_r W_o Σ_s): positive definite wherever θ is identified."""
    by_pair = pairwise_traces(structure, point.inverse, sums.xx[0, 0] * point.inverse)
    return chain(point.jacobian, chain(point.jacobian, by_pair).transpose(0, 1))


def log_likelihood(point: Point, sums: Sums, kept: Float[Tensor, "column replicate"], *, reml: bool) -> Float[Tensor, "replicate"]:
    """l with its constant: -½ [ (N - p) log 2π + … ] for restricted, N for full likelihood, of the data as given."""
    n = sums.n_values - add_up(kept) if reml else sums.n_values
    scales = 2.0 * sums.log_scales(kept) if reml else 0.0
    return -0.5 * (n * math.log(2.0 * math.pi) + point.deviance + scales)


def _pattern_inverses(sigma: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """W_o and log|Σ_o| of every pattern: a missing visit has variance 1 and no covariance while the matrix is inverted."""
    both = (seen[:, None] * seen[None])[..., None]
    padded = sigma[:, :, None] * both + torch.diag_embed((1.0 - seen).T).movedim(0, -1)[..., None]
    inverse, pivots = invert(padded)
    return inverse * both, add_up(pivots.log())


def _precision(xx: Tensor, inverse: Tensor) -> Tensor:
    """Σ_o xx_o ⊗ W_o as [factor, visit, factor, visit, replicate]."""
    return outer_sum(xx, inverse).permute(0, 2, 1, 3, 4)


def _between(xx: Tensor, spread: Tensor) -> Tensor:
    """T_o = Σ_ab xx_o[a, b] Φ[(a, s), (b, t)] as [visit, visit, pattern, replicate]."""
    m, n = spread.shape[0], spread.shape[1]
    total = torch.zeros((n, n, *xx.shape[2:]), dtype=xx.dtype, device=xx.device)
    for a in range(m):
        for b in range(a + 1):
            block = spread[a, :, b]
            if a != b:
                block = block + block.transpose(0, 1)
            total += block[:, :, None] * xx[a, b]
    return total


def _entries(structure: Structure, a: Float[Tensor, "visit visit replicate"]) -> Float[Tensor, "pair replicate"]:
    """What a symmetric matrix is multiplied with when an entry of Σ moves: the entry, twice off the diagonal."""
    i, j = structure.places(a.device)
    return a[i, j] * torch.where(i == j, 1.0, 2.0).to(a.dtype)[:, None]


def _halves(structure: Structure, like: Tensor) -> Float[Tensor, "pair"]:
    """½ on the diagonal, 1 off it: E_k = ∂Σ/∂Σ_k is that times e_i e_j' + e_j e_i'."""
    i, j = structure.places(like.device)
    return torch.where(i == j, 0.5, 1.0).to(like.dtype)


def chain(jacobian: Float[Tensor, "parameter pair replicate"], by_pair: Float[Tensor, "pair *batch replicate"]) -> Float[Tensor, "parameter *batch replicate"]:
    """Σ_k jacobian[r, k] by_pair[k], in order of k: from pairs of visits to parameters."""
    weights = jacobian.reshape(*jacobian.shape[:2], *([1] * (by_pair.ndim - 2)), jacobian.shape[-1])
    shape = by_pair.shape[1:]
    flat = multiply(weights.reshape(*jacobian.shape[:2], jacobian.shape[-1]), by_pair.reshape(len(by_pair), -1, shape[-1]))
    return flat.reshape(len(jacobian), *shape)


def pairwise_traces(structure: Structure, a: Tensor, b: Tensor) -> Float[Tensor, "pair pair replicate"]:
    """Σ_o tr(E_k A_o E_l B_o) for all pairs k, l of visits, E_k = ∂Σ/∂Σ_k, A and B symmetric."""
    n = structure.n_visits
    i, j = structure.places(a.device)
    i, j, g, h = i[:, None], j[:, None], i[None], j[None]
    flat = outer_sum(a, b).reshape(n**4, -1)
    found = torch.zeros((len(structure.pairs), len(structure.pairs), flat.shape[-1]), dtype=a.dtype, device=a.device)
    for p, q, r, s in ((i, g, j, h), (j, h, i, g), (i, h, j, g), (j, g, i, h)):
        found += flat[((p * n + q) * n + r) * n + s]
    half = _halves(structure, a)
    return found * (half[:, None] * half[None])[..., None]


def _errors(sums: Sums, structure: Structure, inverse: Tensor, residual: Tensor) -> Float[Tensor, "pair column replicate"]:
    """e_k for the pairs of visits."""
    i, j = structure.places(inverse.device)
    four = outer_sum(inverse, multiply(residual, inverse)).permute(1, 3, 2, 0, 4)  # visit i, visit j, factor, visit s
    return sums.collapse((four[i, j] + four[j, i]) * _halves(structure, inverse)[:, None, None, None], 1)


def _trace_of_products(sums: Sums, structure: Structure, inverse: Tensor, phi: Tensor, jacobian: Tensor) -> Float[Tensor, "parameter parameter replicate"]:
    """tr(Φ P_r Φ P_s)."""
    n, m = structure.n_visits, len(sums.factors)
    i, j = structure.places(inverse.device)
    q, k = jacobian.shape[:2]
    half = _halves(structure, inverse)[:, None, None, None]
    slices = torch.zeros((k, m, n, m, n, inverse.shape[-1]), dtype=inverse.dtype, device=inverse.device)
    for o in range(inverse.shape[2]):
        w = inverse[:, :, o]
        one = w[i][:, :, None] * w[j][:, None]
        one = (one + one.transpose(1, 2)) * half
        slices += one[:, None, :, None, :] * sums.xx[None, :, None, :, None, o]
    p = sums.collapse(sums.collapse(slices, 3), 1)
    if q < k:
        p = chain(jacobian, p)
    turned = multiply(p.movedim(0, 2), phi[:, :, None]).movedim(2, 0)  # parameter column column replicate: P_r Φ
    traces = torch.zeros((len(p), len(p), inverse.shape[-1]), dtype=inverse.dtype, device=inverse.device)
    other = turned.transpose(1, 2)
    for r in range(len(p)):
        row = inner(turned[r][:, :, None], other[: r + 1].permute(1, 2, 0, 3), 2)
        traces[r, : r + 1] = row
        traces[: r + 1, r] = row
    return traces if q < k else chain(jacobian, chain(jacobian, traces).transpose(0, 1))
