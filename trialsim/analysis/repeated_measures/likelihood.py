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
from trialsim.analysis.repeated_measures.small_matrices import add_up, apply, inner, invert, multiply
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
    gradient = chain(jacobian, _pair_weights(structure, pull) * _pairs(structure, pull))

    extra = len(beta) / sums.n_visits / sums.n_patients if reml and not exact else torch.zeros_like(deviance)
    hessian = pairwise_traces(structure, inverse, 2.0 * middle - n_o * (1.0 + extra) * inverse)
    residual = sums.xy - left  # factor visit pattern replicate: Σ x (y - Xβ)'
    errors = _errors(sums, structure, inverse, residual)
    errors = chain(jacobian, errors)
    hessian = chain(jacobian, chain(jacobian, hessian).transpose(0, 1))
    solved = torch.stack([apply(phi, error) for error in errors])
    hessian = hessian - 2.0 * multiply(errors, solved.transpose(0, 1))
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


def over_patterns(a: Float[Tensor, "*batch pattern replicate"]) -> Float[Tensor, "*batch replicate"]:
    """The sum over patterns, in order."""
    total = a[..., 0, :].clone()
    for o in range(1, a.shape[-2]):
        total += a[..., o, :]
    return total


def _pattern_inverses(sigma: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """W_o and log|Σ_o| of every pattern: a missing visit has variance 1 and no covariance while the matrix is inverted."""
    both = (seen[:, None] * seen[None])[..., None]
    padded = sigma[:, :, None] * both + torch.diag_embed((1.0 - seen).T).movedim(0, -1)[..., None]
    inverse, pivots = invert(padded)
    return inverse * both, add_up(pivots.log())


def _precision(xx: Tensor, inverse: Tensor) -> Tensor:
    """Σ_o xx_o ⊗ W_o as [factor, visit, factor, visit, replicate]."""
    total = xx[:, None, :, None, 0] * inverse[None, :, None, :, 0]
    for o in range(1, xx.shape[2]):
        total += xx[:, None, :, None, o] * inverse[None, :, None, :, o]
    return total


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


def _pairs(structure: Structure, a: Tensor) -> Tensor:
    """Entries [pair, ...] of [visit, visit, ...]."""
    return torch.stack([a[i, j] for i, j in structure.pairs])


def _pair_weights(structure: Structure, like: Tensor) -> Tensor:
    """2 off the diagonal of Σ and 1 on it, as [pair, 1, …]."""
    weights = torch.tensor([1.0 if i == j else 2.0 for i, j in structure.pairs], dtype=like.dtype, device=like.device)
    return weights.reshape(-1, *([1] * (like.ndim - 2)))


def chain(jacobian: Float[Tensor, "parameter pair replicate"], by_pair: Float[Tensor, "pair *batch replicate"]) -> Float[Tensor, "parameter *batch replicate"]:
    """Σ_k jacobian[r, k] by_pair[k], in order of k: from pairs of visits to parameters."""
    weights = jacobian.reshape(*jacobian.shape[:2], *([1] * (by_pair.ndim - 2)), jacobian.shape[-1])
    total = weights[:, 0] * by_pair[0]
    for k in range(1, len(by_pair)):
        total += weights[:, k] * by_pair[k]
    return total


def _index(structure: Structure, device: torch.device) -> tuple[Tensor, Tensor]:
    pairs = torch.tensor(structure.pairs, device=device)
    return pairs[:, 0], pairs[:, 1]


def pairwise_traces(structure: Structure, a: Tensor, b: Tensor) -> Float[Tensor, "pair pair replicate"]:
    """Σ_o tr(E_k A_o E_l B_o) for all pairs k, l of visits, E_k = ∂Σ/∂Σ_k, A and B symmetric."""
    n = structure.n_visits
    product = a[:, :, None, None, 0] * b[None, None, :, :, 0]
    for o in range(1, a.shape[2]):
        product += a[:, :, None, None, o] * b[None, None, :, :, o]
    i, j = _index(structure, a.device)
    i, j, g, h = i[:, None], j[:, None], i[None], j[None]
    flat = product.reshape(n**4, -1)

    def at(p: Tensor, q: Tensor, r: Tensor, s: Tensor) -> Tensor:
        return flat[((p * n + q) * n + r) * n + s]

    half = torch.tensor([0.5 if p == q else 1.0 for p, q in structure.pairs], dtype=a.dtype, device=a.device)
    # E_k = e_i e_j' + e_j e_i' off the diagonal, half of that on it.
    return (at(i, g, j, h) + at(j, h, i, g) + at(i, h, j, g) + at(j, g, i, h)) * (half[:, None] * half[None])[..., None]


def _errors(sums: Sums, structure: Structure, inverse: Tensor, residual: Tensor) -> Float[Tensor, "pair column replicate"]:
    """e_k for the pairs of visits."""
    pulled = multiply(residual, inverse)  # factor visit pattern replicate
    i, j = _index(structure, inverse.device)
    four = inverse[:, :, None, None, 0] * pulled[None, None, :, :, 0]  # visit s, visit i, factor, visit j
    for o in range(1, inverse.shape[2]):
        four += inverse[:, :, None, None, o] * pulled[None, None, :, :, o]
    four = four.permute(1, 3, 2, 0, 4)  # i, j, factor, s
    half = torch.tensor([0.5 if p == q else 1.0 for p, q in structure.pairs], dtype=inverse.dtype, device=inverse.device)
    return sums.collapse((four[i, j] + four[j, i]) * half[:, None, None, None], 1)


def _trace_of_products(sums: Sums, structure: Structure, inverse: Tensor, phi: Tensor, jacobian: Tensor) -> Float[Tensor, "parameter parameter replicate"]:
    """tr(Φ P_r Φ P_s)."""
    n, m = structure.n_visits, len(sums.factors)
    i, j = _index(structure, inverse.device)
    q, k = jacobian.shape[:2]
    half = torch.tensor([0.5 if a == b else 1.0 for a, b in structure.pairs], dtype=inverse.dtype, device=inverse.device)[:, None, None, None]
    slices = torch.zeros((k, m, n, m, n, inverse.shape[-1]), dtype=inverse.dtype, device=inverse.device)
    for o in range(inverse.shape[2]):
        w = inverse[:, :, o]
        first, second = w[i], w[j]  # pair visit replicate
        one = first[:, :, None] * second[:, None]
        one = (one + one.transpose(1, 2)) * half
        slices += one[:, None, :, None, :] * sums.xx[None, :, None, :, None, o]
    p = sums.collapse(sums.collapse(slices, 3), 1)
    if q < k:
        p = chain(jacobian, p)
    turned = p[:, :, 0, None] * phi[None, None, 0]
    for c in range(1, len(phi)):
        turned += p[:, :, c, None] * phi[None, None, c]
    traces = torch.zeros((len(p), len(p), inverse.shape[-1]), dtype=inverse.dtype, device=inverse.device)
    other = turned.transpose(1, 2)
    for r in range(len(p)):
        row = inner(turned[r][:, :, None], other[: r + 1].permute(1, 2, 0, 3), 2)
        traces[r, : r + 1] = row
        traces[: r + 1, r] = row
    return traces if q < k else chain(jacobian, chain(jacobian, traces).transpose(0, 1))
