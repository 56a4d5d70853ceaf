"""From the correlation of two covariates' values, as papers print it, to that of their normal scores (NORTA)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, owens_t

if TYPE_CHECKING:
    from trialsim.cohort.laws.law import CovariateLaw

Array = NDArray[np.float64]

END = 8.2  # beyond it Φ is 1 in floating point
MANY_STEPS = 500  # a count with more steps has those within 0.03 scores of each other pooled
HEAVY = 1e-4  # the share of the variance beyond 7.5 scores above which a tail is too heavy
_KNOTS = np.linspace(-END, END, 4101)
_Z, _STEP = np.linspace(-END, END, 165, retstep=True)
_DENSITY = np.exp(-0.5 * _Z**2) * (_STEP / math.sqrt(2.0 * math.pi))
_GAUSS = {order: np.polynomial.legendre.leggauss(order) for order in (6, 16)}


@dataclass(frozen=True)
class Standardised:
    """A law with mean 0 and SD 1: x(z) of a normal score z, smooth or in steps.

    In steps: the value is `values[0]` up to the score `cuts[0]`, then `values[1]`, …
    """

    smooth: Callable[[Array], Array] | None
    values: Array
    cuts: Array


class NoCorrelationError(ValueError):
    """A law that never varies, or whose SD is infinite or so far in its tail that it cannot be computed."""


def standardised(law: CovariateLaw) -> Standardised:
    """The law with mean 0 and SD 1. Raises NoCorrelationError where it has no SD, or one of 0."""
    steps = law.steps()
    if steps is not None:
        values, cdf = steps
        shares = np.diff(cdf, prepend=0.0)
        kept = shares > 0.0
        values, shares = values[kept], shares[kept]
        if len(values) < 2:
            raise NoCorrelationError("one of them never varies")
        mean = float(values @ shares)
        sd = math.sqrt(float((values - mean) ** 2 @ shares))
        if len(values) > MANY_STEPS:
            values, shares = _pooled(values, shares)
        return Standardised(smooth=None, values=(values - mean) / sd, cuts=ndtri(np.clip(np.cumsum(shares[:-1]), 0.0, 1.0)))
    x = law.from_normal_score(torch.from_numpy(_KNOTS.copy()).to("cpu")).numpy()
    x = np.interp(_KNOTS, _KNOTS[np.isfinite(x)], x[np.isfinite(x)])
    density = np.exp(-0.5 * _KNOTS**2)
    density /= density.sum()
    mean = float(density @ x)
    square = density * (x - mean) ** 2
    sd = math.sqrt(float(square.sum()))
    if sd == 0.0:
        raise NoCorrelationError("one of them never varies")
    if float(square[np.abs(_KNOTS) > 7.5].sum()) > HEAVY * sd**2:
        raise NoCorrelationError("one of them has a tail so heavy that its SD is not settled")
    spline = CubicSpline(_KNOTS, (x - mean) / sd)
    return Standardised(smooth=lambda z: np.asarray(spline(np.clip(z, -END, END))), values=np.empty(0), cuts=np.empty(0))


def correlation_of_values(one: Standardised, two: Standardised, rho: float) -> float:
    """The Pearson correlation of two covariates' values whose normal scores have the correlation rho, in [−1, 1].

    Two smooth laws: ∫∫ x(z₁) y(ρ z₁ + √(1 − ρ²) e) φ(z₁) φ(e) by the trapezoidal rule, which on a normal density converges
    faster than any power of its step (as Gauss–Hermite does, with nodes that need not be renewed). One in steps: the inner
    integral of the smooth law, and Gauss–Legendre between the cuts of the other. Two in steps: Σ Σ Δx Δy (Φ₂(s, t; ρ) −
    Φ(s) Φ(t)), with Φ₂ by Owen's T. Errors are below 1e-8; below 1e-4 for counts of more than 500 steps, which are pooled.

    **Source:** Cario & Nelson 1997 (NORTA), section 3; Owen 1956, Tables for computing bivariate normal probabilities,
    Annals of Mathematical Statistics 27:1075, doi 10.1214/aoms/1177728074; Trefethen & Weideman 2014, The exponentially
    convergent trapezoidal rule, doi 10.1137/130932132.
    """
    if one.smooth is None and two.smooth is None:
        s, t = one.cuts[:, None], two.cuts[None, :]
        return float(np.diff(one.values) @ (_below_both(s, t, rho) - ndtr(s) * ndtr(t)) @ np.diff(two.values))
    if one.smooth is None:
        one, two = two, one
    assert one.smooth is not None
    rest = math.sqrt(max(0.0, 1.0 - rho * rho))
    if two.smooth is not None:
        inner = two.smooth(rho * _Z[:, None] + rest * _Z[None, :]) @ _DENSITY
        return float((one.smooth(_Z) * _DENSITY) @ inner)
    nodes, weights, values = _between(two)
    inner = one.smooth(rho * nodes[:, None] + rest * _Z[None, :]) @ _DENSITY
    return float((weights * values) @ inner)


def correlation_of_scores(one: Standardised, two: Standardised, wanted: float) -> tuple[float | None, float, float]:
    """The correlation of the normal scores for which that of the values is `wanted`, and the least and greatest attainable.

    The correlation of the values never falls as that of the scores rises, so one root search (Brent) finds it. None where
    `wanted` is not strictly within the attainable range.

    **Source:** Cario & Nelson 1997, Modeling and generating random vectors with arbitrary marginal distributions and correlation
    matrix, proposition 2 (monotone and continuous); Hoeffding 1940 (the range is reached at rho = −1 and 1).
    """
    least, greatest = correlation_of_values(one, two, -1.0), correlation_of_values(one, two, 1.0)
    if not least + 1e-9 < wanted < greatest - 1e-9:
        return None, least, greatest
    if wanted == 0.0:
        return 0.0, least, greatest
    return float(brentq(lambda rho: correlation_of_values(one, two, rho) - wanted, -1.0, 1.0, xtol=1e-13, rtol=1e-13)), least, greatest


def solve_pair(one: CovariateLaw, two: CovariateLaw, wanted: float) -> tuple[float | None, float, float]:
    """`correlation_of_scores` of two laws, remembered: a protocol asks for the same pair in every cell."""
    return _solved(_Keyed(one), _Keyed(two), wanted)


class _Keyed:
    """A law that is the same key as another with the same parameters."""

    def __init__(self, law: CovariateLaw):
        self.law, self.key = law, law.model_dump_json()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=4096)
def _solved(one: _Keyed, two: _Keyed, wanted: float) -> tuple[float | None, float, float]:
    return correlation_of_scores(_standardised(one), _standardised(two), wanted)


@lru_cache(maxsize=256)
def _standardised(law: _Keyed) -> Standardised:
    return standardised(law.law)


def _pooled(values: Array, shares: Array) -> tuple[Array, Array]:
    """Steps within 0.03 scores of each other as one, at their mean: at most 550 steps, which lose at most 0.03² / 12 of the variance."""
    bins = np.floor(ndtri(np.clip(np.cumsum(shares) - 0.5 * shares, 1e-16, 1.0 - 1e-16)) / 0.03)
    first = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1.0))
    pooled = np.add.reduceat(shares, first)
    return np.add.reduceat(values * shares, first) / pooled, pooled


def _between(law: Standardised) -> tuple[Array, Array, Array]:
    """Nodes and weights (of φ dz) between the cuts of a law in steps, and its value there; intervals at most 1 wide."""
    edges = np.unique(np.concatenate((np.clip(law.cuts, -END, END), np.arange(-8.0, 8.5), [-END, END])))
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    inside = law.values[np.searchsorted(law.cuts, middle)]
    parts = []
    for (at, share), chosen in ((_GAUSS[6], half <= 0.1), (_GAUSS[16], half > 0.1)):
        nodes = middle[chosen, None] + half[chosen, None] * at
        weights = half[chosen, None] * share * np.exp(-0.5 * nodes**2) / math.sqrt(2.0 * math.pi)
        parts.append(np.stack((nodes, weights, np.broadcast_to(inside[chosen, None], nodes.shape))).reshape(3, -1))
    nodes, weights, values = np.concatenate(parts, axis=1)
    return nodes, weights, values


def _below_both(s: Array, t: Array, rho: float) -> Array:
    """P(Z₁ ≤ s, Z₂ ≤ t) of standard normals with correlation rho."""
    if rho >= 1.0:
        return np.asarray(np.minimum(ndtr(s), ndtr(t)))
    if rho <= -1.0:
        return np.asarray(np.maximum(ndtr(s) - ndtr(-t), 0.0))
    h, k = (np.where(np.abs(end) < 1e-30, 1e-30, end) for end in np.broadcast_arrays(s, t))
    root = math.sqrt(1.0 - rho * rho)
    apart = np.where(h * k > 0.0, 0.0, 0.5)
    return np.asarray(0.5 * (ndtr(h) + ndtr(k)) - owens_t(h, (k - rho * h) / (h * root)) - owens_t(k, (h - rho * k) / (k * root)) - apart)
