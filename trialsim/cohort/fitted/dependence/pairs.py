"""What pairs of columns say about the correlations of their normal scores: the likelihood of each pair, tabulated."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.margins import Scores

Array = NDArray[np.float64]

LIMIT = 0.995  # of a pairwise correlation
_GRID = 0.025  # exact scores are rounded to this where they meet an interval
_FAR = 9.0
_LEAST = 1e-12
_CHUNK = 1 << 15  # cells tabulated at a time
_END = float(np.arctanh(LIMIT))
_TANH_NODES = np.linspace(-_END, _END, 61)
_STEP = float(_TANH_NODES[1] - _TANH_NODES[0])
_RHO_NODES = torch.from_numpy(np.tanh(_TANH_NODES))


@dataclass(frozen=True, slots=True)
class Curve:
    """What one pair adds to the log likelihood: `moments` (n, Σa², Σb², Σab) of its exact cells, the rest at 61 correlations."""

    moments: Array
    table: Array


Memo = dict[tuple[int, int], tuple[Scores, Scores, Curve]]
"""Curves by the identity of the two columns' scores, which it keeps alive."""


class PairStatistics:
    """The log likelihood of every pair of columns as a function of its correlation ρ, flattened so that one pass serves all.

    Exact-exact pairs have that of a bivariate normal in closed form. What intervals add (rectangles, and φ(z)·P(interval | z)
    with z rounded to 0.025) is computed at 61 values of atanh ρ up to ±2.99 and a cubic spline between them: relative to the
    Monte Carlo error of a correlation the interpolation is exact (below 1e-5 in ρ), and the fit costs one pass over the data.
    With a `memo`, pairs whose scores were seen before are not computed again.
    """

    def __init__(self, columns: Sequence[Scores], linked: Collection[tuple[int, int]] = (), memo: Memo | None = None):
        from scipy.interpolate import CubicSpline

        memo = {} if memo is None else memo
        self.n_columns = len(columns)
        pairs = list(combinations(range(len(columns)), 2))
        self.first, self.second = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
        held = {pair for pair in pairs if pair in linked or pair[::-1] in linked}
        new = [(a, b) for a, b in pairs if (a, b) not in held and (id(columns[a]), id(columns[b])) not in memo]
        for (a, b), curve in zip(new, _curves([(columns[a], columns[b]) for a, b in new]), strict=True):
            memo[id(columns[a]), id(columns[b])] = (columns[a], columns[b], curve)
        n = float(max((len(column.exact) for column in columns), default=1))
        apart = Curve(np.array([n, n, n, 0.0]), np.zeros(len(_TANH_NODES)))  # as if seen uncorrelated by everybody
        curves = [apart if pair in held else memo[id(columns[pair[0]]), id(columns[pair[1]])][2] for pair in pairs]
        self.moments = torch.from_numpy(np.stack([curve.moments for curve in curves]) if curves else np.zeros((0, 4)))
        tables = np.stack([curve.table for curve in curves], axis=1) if curves else np.zeros((len(_TANH_NODES), 0))
        spline = CubicSpline(_TANH_NODES, tables, axis=0)
        self.pieces = torch.from_numpy(np.ascontiguousarray(spline.c.transpose(2, 1, 0)))  # [pair, piece, power 3..0]

    def log_likelihood(self, rho: Float[Tensor, "pair"]) -> Float[Tensor, "pair"]:
        """The log likelihood of each pair at its correlation."""
        rho = rho.clamp(-LIMIT, LIMIT) + 0.0
        n, aa, bb, ab = self.moments.unbind(-1)
        left = 1.0 - rho**2
        total = -0.5 * n * torch.log(left) - 0.5 * (aa - 2.0 * rho * ab + bb) / left
        place = torch.atanh(rho) + _END
        piece = (place.detach() / _STEP).to(torch.int64).clamp(0, self.pieces.shape[1] - 1)
        x = place - piece * _STEP
        cubic, square, slope, level = self.pieces[torch.arange(len(rho)), piece].unbind(-1)
        return total + ((cubic * x + square) * x + slope) * x + level

    def separately(self) -> Float[Tensor, "pair"]:
        """Each pair's own maximum-likelihood correlation, by golden section on all pairs at once."""
        ratio = (5**0.5 - 1) / 2
        low = torch.full((len(self.first),), -LIMIT + 1e-6, dtype=torch.float64)
        high = -low
        with torch.no_grad():
            inner, outer = high - ratio * (high - low), low + ratio * (high - low)
            at_inner, at_outer = self.log_likelihood(inner), self.log_likelihood(outer)
            for _ in range(32):
                left = at_inner >= at_outer
                low, high = torch.where(left, low, inner), torch.where(left, outer, high)
                inner, outer = high - ratio * (high - low), low + ratio * (high - low)
                at_inner, at_outer = self.log_likelihood(inner), self.log_likelihood(outer)
        return (low + high) / 2

    def matrix(self, rho: Float[Tensor, "pair"]) -> Float[Tensor, "column column"]:
        """The symmetric matrix of these correlations, 1 on the diagonal."""
        out = torch.eye(self.n_columns, dtype=torch.float64)
        out[self.first, self.second] = rho
        out[self.second, self.first] = rho
        return out


_NODES, _WEIGHTS = (torch.from_numpy(array / 2) for array in np.polynomial.legendre.leggauss(24))


def orthant(h: Float[Tensor, "*box"], k: Float[Tensor, "*box"], rho: Float[Tensor, "*box"]) -> Float[Tensor, "*box"]:
    """P(X ≤ h, Y ≤ k) of standard normals with correlation ρ.

    Plackett's identity ∂Φ₂/∂ρ = φ₂, integrated over the angle asin ρ by Gauss–Legendre with 24 nodes (error below 1e-6
    for |ρ| ≤ 0.9, 1e-4 up to 0.995).

    **Source:** Drezner & Wesolowsky 1990, J Stat Comput Simul 35:101, doi 10.1080/00949659008811236.
    """
    whole = torch.asin(rho)
    total = torch.zeros_like(h * rho)
    squares, product = h**2 + k**2, 2.0 * h * k
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        angle = whole * (node + 0.5)
        total += weight * torch.exp(-0.5 * (squares - product * torch.sin(angle)) / torch.cos(angle) ** 2)
    return torch.special.ndtr(h) * torch.special.ndtr(k) + total * whole / (2.0 * torch.pi)


def _curves(pairs: Sequence[tuple[Scores, Scores]]) -> list[Curve]:
    """The curve of every pair, tabulated together."""
    halves = [np.concatenate((_half(index, one, two), _half(index, two, one))) for index, (one, two) in enumerate(pairs)]
    boxes = [_boxes(index, one, two) for index, (one, two) in enumerate(pairs)]
    tables = np.zeros((len(_TANH_NODES), len(pairs)))
    _add_halves(tables, np.concatenate([np.empty((0, 5)), *halves]))
    _add_boxes(tables, np.concatenate([np.empty((0, 6)), *boxes]))
    return [Curve(_moments(one.exact, two.exact), tables[:, index]) for index, (one, two) in enumerate(pairs)]


def _add_halves(tables: Array, cells: Array) -> None:
    """Adds count · log P(low < b ≤ high | a = z) of rows (pair, z, low, high, count)."""
    rho = _RHO_NODES[:, None]
    scale = (1.0 - rho**2).rsqrt()
    for start in range(0, len(cells), _CHUNK):
        pair, z, low, high, count = (torch.from_numpy(column) for column in cells[start : start + _CHUNK].T.copy())
        centre = rho * scale * z
        inside = torch.special.ndtr(high * scale - centre) - torch.special.ndtr(low * scale - centre)
        log = inside.clamp_(min=_LEAST).log_().mul_(count)
        torch.from_numpy(tables).index_add_(1, pair.to(torch.int64), log)


def _add_boxes(tables: Array, cells: Array) -> None:
    """Adds count · log of the rectangle's probability of rows (pair, low a, high a, low b, high b, count)."""
    if not len(cells):
        return
    pair, low_a, high_a, low_b, high_b, count = cells.T
    corners = np.concatenate([np.stack((h, k), axis=1) for h, k in ((high_a, high_b), (low_a, high_b), (high_a, low_b), (low_a, low_b))])
    unique, place = np.unique(corners, axis=0, return_inverse=True)
    below = torch.zeros(len(_RHO_NODES), len(unique), dtype=torch.float64)
    h, k = torch.from_numpy(unique.T.copy())
    inner = (h.abs() < _FAR) & (k.abs() < _FAR)
    below[:, ~inner] = torch.special.ndtr(h[~inner]) * torch.special.ndtr(k[~inner])  # beyond ±9 nothing depends on ρ
    for chunk in torch.nonzero(inner).squeeze(1).split(_CHUNK):
        below[:, chunk] = orthant(h[chunk], k[chunk], _RHO_NODES[:, None])
    both, left, lower, corner = (below[:, torch.from_numpy(part)] for part in place.reshape(4, -1))
    log = (both - left - lower + corner).clamp_(min=_LEAST).log_().mul_(torch.from_numpy(count.copy()))
    torch.from_numpy(tables).index_add_(1, torch.from_numpy(pair.astype(np.int64)), log)


def _moments(a: Array, b: Array) -> Array:
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[both], b[both]
    return np.array([both.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()])


def _half(index: int, one: Scores, two: Scores) -> Array:
    """Rows (pair, z, low, high, count): exact in `one`, an interval in `two`."""
    both = ~np.isnan(one.exact) & (two.interval >= 0)
    if not both.any():
        return np.empty((0, 5))
    z = np.round(one.exact[both] / _GRID).astype(np.int64)
    lowest = int(z.min())
    cells, counts = np.unique((z - lowest) * len(two.ends) + two.interval[both], return_counts=True)
    which = cells % len(two.ends)
    ends = np.clip(two.ends, -_FAR, _FAR)[which]
    score = (cells // len(two.ends) + lowest) * _GRID
    return np.stack((np.full(len(cells), float(index)), score, ends[:, 0], ends[:, 1], counts.astype(np.float64)), axis=1)


def _boxes(index: int, one: Scores, two: Scores) -> Array:
    """Rows (pair, low a, high a, low b, high b, count): intervals in both."""
    both = (one.interval >= 0) & (two.interval >= 0)
    if not both.any():
        return np.empty((0, 6))
    cells, counts = np.unique(one.interval[both] * len(two.ends) + two.interval[both], return_counts=True)
    one_ends, two_ends = np.clip(one.ends, -_FAR, _FAR)[cells // len(two.ends)], np.clip(two.ends, -_FAR, _FAR)[cells % len(two.ends)]
    return np.stack((np.full(len(cells), float(index)), one_ends[:, 0], one_ends[:, 1], two_ends[:, 0], two_ends[:, 1], counts.astype(np.float64)), axis=1)
