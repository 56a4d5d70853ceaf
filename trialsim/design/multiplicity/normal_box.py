"""The probability that correlated standard normals all lie below their limits.

Where the correlations are products, r_ij = b_i b_j (two normals always are; so are several arms against one reference), the
normals are independent given one common factor y, and the probability is the integral of φ(y) Π Φ((z_i - b_i y) / √(1 - b_i²)):
composite Gauss–Legendre, error near 1e-13. Otherwise the chance that some variable is above its limit is summed over the first
that is, those before it being conditioned one after the other (Cholesky); each integral over the unit cube is a fixed lattice of
multiples of √prime folded by the baker's map. Nothing is random; the error is near 1e-6 of the chance (1e-8 to 1e-7 unless a correlation
matrix is nearly singular).

**Source:** Genz & Bretz 2009, chapters 2 and 4 (doi 10.1007/978-3-642-01689-9).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Vector = NDArray[np.float64]
REACH = 8.5  # standard deviations that the common factor is followed to
PANEL = 7.0  # width of a panel in standard deviations of the narrowest factor
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
POINTS = 131_071  # of the lattice, a prime
PRODUCT = 1e-12  # how close correlations must be to products


def probability_below(z: Vector, correlation: NDArray[np.float64]) -> float:
    """P(Z_i ≤ z_i for all i)."""
    finite = z < math.inf
    z, correlation = z[finite], correlation[np.ix_(finite, finite)]
    if len(z) <= 1:
        return float(ndtr(z).prod())
    factor = common_factor(correlation)
    return _by_factor(z, factor) if factor is not None else _by_lattice(z, correlation)


def common_factor(correlation: NDArray[np.float64]) -> Vector | None:
    """b with r_ij = b_i b_j for all i ≠ j and |b_i| < 1; None where there is none."""
    k = len(correlation)
    outside = ~np.eye(k, dtype=np.bool_)
    if not correlation[outside].any():
        return np.zeros(k)
    if k == 2:
        r = float(correlation[0, 1])
        found = np.array([math.sqrt(abs(r)), math.copysign(math.sqrt(abs(r)), r)])
    else:
        # The row with the largest correlations tells the others best.
        strongest = int(np.abs(np.where(outside, correlation, 0.0)).sum(0).argmax())
        i, j = sorted((x for x in range(k) if x != strongest), key=lambda x: -abs(correlation[strongest, x]))[:2]
        if correlation[i, j] == 0.0:
            return None
        square = correlation[strongest, i] * correlation[strongest, j] / correlation[i, j]
        if not 0.0 < square < 1.0:
            return None
        found = correlation[strongest] / math.sqrt(square)
        found[strongest] = math.sqrt(square)
    products = np.outer(found, found)
    return found if np.abs(found).max() < 1.0 and np.abs(products - correlation)[outside].max() < PRODUCT else None


def factor_nodes(narrowest: float) -> tuple[Vector, Vector]:
    """Nodes y and weights (φ(y) included) for an integral over the common factor; `narrowest` is the least √(1 - b²)."""
    return _panels(math.ceil(2.0 * REACH / (PANEL * narrowest)))


@lru_cache(maxsize=256)
def _panels(n: int) -> tuple[Vector, Vector]:
    edges = np.linspace(-REACH, REACH, n + 1)
    half = 0.5 * (edges[1] - edges[0])
    y = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * _NODES).ravel()
    return y, np.tile(half * _WEIGHTS, n) * np.exp(-0.5 * y * y) / math.sqrt(2.0 * math.pi)


def _by_factor(z: Vector, b: Vector) -> float:
    spread = np.sqrt(1.0 - b * b)
    y, weights = factor_nodes(float(spread.min()))
    return float((weights * ndtr((z - b * y[:, None]) / spread).prod(-1)).sum())


def _by_lattice(z: Vector, correlation: NDArray[np.float64]) -> float:
    """One less the chance that some variable is above its limit: the first one that is, in order of the limits."""
    order = np.argsort(z)
    z, correlation = z[order], correlation[np.ix_(order, order)]
    above = float(ndtr(-z[0]))
    for first in range(1, len(z)):
        variables = [first, *range(first)]
        root, limits, points = np.linalg.cholesky(correlation[np.ix_(variables, variables)]), z[variables], _lattice(first)
        tail = float(ndtr(-z[first]))
        drawn = np.empty_like(points)
        drawn[0] = -ndtri(points[0] * tail)
        product = np.ones(points.shape[1])
        for i in range(1, first + 1):
            share = ndtr((limits[i] - root[i, :i] @ drawn[:i]) / root[i, i])
            product *= share
            if i < first:
                drawn[i] = ndtri(np.maximum(points[i] * share, 1e-300))
        above += tail * float(product.mean())
    return 1.0 - above


@lru_cache(maxsize=16)
def _lattice(dimension: int) -> Vector:
    """Points of the open unit cube, [dimension, point]: multiples of √prime, folded so that the integrand is periodic."""
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    steps = np.arange(1, POINTS + 1, dtype=np.float64)
    points = np.stack([np.abs(2.0 * np.modf(steps * math.sqrt(prime) + 0.5)[0] - 1.0) for prime in primes[:dimension]])
    return np.clip(points, 1e-16, 1.0 - 1e-16)
