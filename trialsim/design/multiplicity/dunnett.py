"""Dunnett's test: several arms against one reference, with the exact joint distribution of their statistics.

T_i = (b_i y + √(1 - b_i²) x_i) / s with independent standard normals y, x_i and s² = χ²_df / df (s = 1 without df), so
that T_i and T_j correlate by b_i b_j. With n_i patients in arm i and n_0 in the reference arm and one variance pooled over all
of them, b_i = √(n_i / (n_i + n_0)) and df = Σ n - number of arms. So

    P(T_i ≤ c_i for all i) = ∫ f(s) ∫ φ(y) Π Φ((c_i s + b_i y) / √(1 - b_i²)) dy ds,

two composite Gauss–Legendre sums (the sign of b does not matter), error near 1e-12. Single-step p-values take the maximum over all arms; the step-down test
is the closed one: a hypothesis is rejected with all intersections that hold it, and of those with the largest statistic t the
one of every arm with a statistic at most t decides, so that arms are tested in order of their statistics.

Not handled: several reference arms, unequal variances.

**Source:** Dunnett 1955 (doi 10.1080/01621459.1955.10501294); Dunnett & Tamhane 1991 (doi 10.1002/sim.4780100614) for
step-down; Marcus, Peritz & Gabriel 1976 (doi 10.1093/biomet/63.3.655) for closure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr, stdtr

from trialsim.design.multiplicity.normal_box import factor_nodes

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
"""[replicate, arm]"""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
PANEL = 7.0
TAIL = 1e-16  # of the distribution of s that is left out at either end
CHUNK = 2_000_000  # numbers held at a time


def loadings(n_reference: Matrix | float, n: Matrix) -> Matrix:
    """b_i = √(n_i / (n_i + n_0)); 0 where nobody is there."""
    total = n + n_reference
    return np.sqrt(np.divide(n, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0))


def probability_within(critical: Matrix, b: Matrix, df: Vector | None, *, sides: int = 1, shift: Matrix | None = None) -> Vector:
    """P(T_i ≤ critical_i for all i), or P(|T_i| ≤ critical_i for all i) where `sides` is 2; [replicate].

    `shift` is the mean of T_i's numerator where the arms differ. A `critical` of +inf leaves an arm out. `df` None, or infinite in
    every replicate: normal.
    """
    critical, b = np.broadcast_arrays(np.atleast_2d(critical), np.atleast_2d(b))
    if df is not None and np.isinf(df).all():
        df = None
    means = np.zeros_like(critical) if shift is None else np.broadcast_to(np.atleast_2d(shift), critical.shape)
    found = np.empty(len(critical))
    narrowest = np.sqrt(1.0 - (b * b).max(-1))
    # The grids depend on the replicate alone, so that its number does too.
    panels_y = np.ceil(17.0 / (PANEL * narrowest))
    if df is None:
        scale, density = np.ones((len(b), 1)), np.ones((len(b), 1))
        panels_s = np.ones(len(b))
    else:
        df = np.broadcast_to(np.asarray(df, dtype=np.float64), (len(b),))
        low, high = np.sqrt(2.0 * gammaincinv(df / 2.0, TAIL) / df), np.sqrt(2.0 * gammainccinv(df / 2.0, TAIL) / df)
        steepest = np.where(np.isfinite(critical), np.abs(critical), 0.0).max(-1)
        panels_s = np.minimum(np.ceil((high - low) * np.sqrt(2.0 * df + steepest * steepest) / PANEL), 64.0)
    for n_y, n_s in sorted(set(zip(panels_y.tolist(), panels_s.tolist(), strict=True))):
        rows = ((panels_y == n_y) & (panels_s == n_s)).nonzero()[0]
        y, weight = factor_nodes(17.0 / (PANEL * n_y))
        per_chunk = max(1, int(CHUNK // (len(y) * 16 * n_s)))
        for start in range(0, len(rows), per_chunk):
            at = rows[start : start + per_chunk]
            if df is not None:
                scale, density = _scales(df[at], low[at], high[at], int(n_s))
            found[at] = _integral(
                critical[at], b[at], means[at], scale if df is not None else scale[at], density if df is not None else density[at], y, weight, sides
            )
    return found


def _scales(df: Vector, low: Vector, high: Vector, panels: int) -> tuple[Matrix, Matrix]:
    """Nodes of s and weights with its density, [replicate, node]."""
    share = np.linspace(0.0, 1.0, panels + 1)
    half = 0.5 / panels
    place = (0.5 * (share[1:] + share[:-1])[:, None] + half * _NODES).ravel()
    width = (high - low)[:, None]
    s = low[:, None] + width * place
    nu = df[:, None]
    log_density = math.log(2.0) + 0.5 * nu * np.log(0.5 * nu) - gammaln(0.5 * nu) + (nu - 1.0) * np.log(s) - 0.5 * nu * s * s
    return s, np.exp(log_density) * np.tile(half * _WEIGHTS, panels) * width


def _integral(critical: Matrix, b: Matrix, means: Matrix, scale: Matrix, density: Matrix, y: Vector, weight: Vector, sides: int) -> Vector:
    """Over s and y, [replicate]; one arm at a time."""
    inside = np.ones((len(critical), scale.shape[1], len(y)))
    for arm in range(critical.shape[1]):
        c, spread = critical[:, arm, None], np.sqrt(1.0 - b[:, arm] ** 2)[:, None, None]
        limit = np.where(np.isinf(c), c, c * scale)[:, :, None]
        common = means[:, arm, None, None] + b[:, arm, None, None] * y
        above = ndtr((limit - common) / spread)
        inside *= above - ndtr((-limit - common) / spread) if sides == 2 else above
    return np.asarray(((inside * weight).sum(-1) * density).sum(-1))


def single_step(t: Matrix, b: Matrix, df: Vector | None, *, sides: int = 1) -> Matrix:
    """Adjusted p-values of the single-step test, [replicate, arm]; NaN statistics never reject and stay NaN."""
    size, failed = _sizes(t, sides)
    found = np.stack([_tail(np.repeat(size[:, arm, None], t.shape[-1], axis=-1), b, df, sides) for arm in range(t.shape[-1])], axis=-1)
    return np.where(failed, np.nan, found)


def step_down(t: Matrix, b: Matrix, df: Vector | None, *, sides: int = 1) -> Matrix:
    """Adjusted p-values of the step-down (closed) test, [replicate, arm]."""
    size, failed = _sizes(t, sides)
    order = np.argsort(-size, axis=-1, kind="stable")
    ordered, loading = np.take_along_axis(size, order, axis=-1), np.take_along_axis(np.broadcast_to(b, t.shape), order, axis=-1)
    n_arms = t.shape[-1]
    stepped = np.stack([_tail(np.repeat(ordered[:, rank, None], n_arms - rank, axis=-1), loading[:, rank:], df, sides) for rank in range(n_arms)], axis=-1)
    found = np.take_along_axis(np.maximum.accumulate(stepped, axis=-1), np.argsort(order, axis=-1, kind="stable"), axis=-1)
    return np.where(failed, np.nan, found)


def rejected_step_down(t: Matrix, b: Matrix, df: Vector | None, *, alpha: float, sides: int = 1) -> NDArray[np.bool_]:
    """`step_down(…) <= alpha`, without the integrals that nothing depends on.

    With m arms left the p-value of the largest statistic lies between p and m p, its own: an integral decides only between.
    """
    size, _ = _sizes(t, sides)
    order = np.argsort(-size, axis=-1, kind="stable")
    ordered, loading = np.take_along_axis(size, order, axis=-1), np.take_along_axis(np.broadcast_to(b, t.shape), order, axis=-1)
    n_arms = t.shape[-1]
    going = np.ones(len(t), dtype=np.bool_)
    stepped = np.zeros(t.shape, dtype=np.bool_)
    for rank in range(n_arms):
        top, left = ordered[:, rank], n_arms - rank
        own = sides * (ndtr(-top) if df is None else stdtr(np.broadcast_to(df, top.shape), -top))
        sure = left * own <= alpha
        open_ = going & ~sure & (own <= alpha)
        rows = open_.nonzero()[0]
        if len(rows):
            tail = _tail(np.repeat(top[rows, None], left, axis=-1), loading[rows, rank:], None if df is None else np.broadcast_to(df, top.shape)[rows], sides)
            sure[rows] = tail <= alpha
        going &= sure
        stepped[:, rank] = going
    return np.take_along_axis(stepped, np.argsort(order, axis=-1, kind="stable"), axis=-1)


def critical_value(b: Vector, df: float | None, *, alpha: float, sides: int = 1) -> float:
    """c with P(some T_i > c) = alpha (|T_i| where two-sided)."""
    freedom = None if df is None else np.array([df])

    def excess(c: float) -> float:
        return float(_tail(np.full((1, len(b)), c), b[None], freedom, sides)[0]) - alpha

    low, high = -1.0 if sides == 1 else 0.0, 4.0
    while excess(high) > 0.0:
        high *= 2.0
    while excess(low) < 0.0:
        low -= 2.0
    return float(brentq(excess, low, high, xtol=1e-12, rtol=1e-13))


def _sizes(t: Matrix, sides: int) -> tuple[Matrix, NDArray[np.bool_]]:
    """What the maximum is taken of, −inf where an analysis failed."""
    failed = np.isnan(t)
    return np.where(failed, -np.inf, np.abs(t) if sides == 2 else t), failed


def _tail(critical: Matrix, b: Matrix, df: Vector | None, sides: int) -> Vector:
    """P(some T_i > critical_i), 1 where nothing was found (−inf)."""
    never: NDArray[np.bool_] = np.asarray(np.isneginf(critical).any(-1))
    inside = probability_within(np.where(never[:, None], 0.0, critical), b, df, sides=sides)
    return np.where(never, 1.0, np.clip(1.0 - inside, 0.0, 1.0))
