"""Closed tests of graphs whose intersections are tested by Bonferroni, Simes, or the joint normal distribution of the statistics.

An intersection I of hypotheses has the shares w_j(I) of the graph drawn without the others. Its p-value is

    bonferroni   min p_j / w_j
    simes        min over j of p_j / Σ{w_i : p_i ≤ p_j}
    parametric   P(some p_i / w_i ≤ min_j p_j / w_j) / Σ w_i,  z statistics normal with the given correlation

(hypotheses without a share do not count), and a hypothesis's adjusted p-value is the largest over the intersections that hold it. Hypotheses may be
tested in groups: the p-value of an intersection is then the smallest of its groups', so that nothing is assumed
between groups. `upscaled` divides the shares of an intersection by their sum first, as Bretz et al. 2011: more powerful
where shares do not sum to 1, at the price of consonance.

With the correlation √(n_i/(n_i + n_0)) √(n_j/(n_j + n_0)) of several arms against one reference the parametric test is the
weighted step-down Dunnett test. For simulated trials `rejected_parametrically` solves once per intersection how small
min p_j / w_j must be.

**Source:** Xi, Glimm, Maurer & Bretz 2017 (doi 10.1002/bimj.201600233); Bretz, Posch, Glimm, Klinglmueller, Maurer & Rohmeyer
2011 (doi 10.1002/bimj.201000239).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from trialsim.design.multiplicity.adjustment import Matrix, failures_as_one
from trialsim.design.multiplicity.graph import Vector, Weighting
from trialsim.design.multiplicity.normal_box import probability_below

Test = Literal["bonferroni", "simes", "parametric"]
MOST = 14
"""Hypotheses: a closed test has 2^m - 1 intersections."""


@failures_as_one
def closed_test(
    p: Matrix,
    weighting: Weighting,
    *,
    test: Test | Sequence[Test] = "bonferroni",
    groups: Sequence[Sequence[int]] | None = None,
    correlation: Matrix | None = None,
    upscaled: bool = False,
) -> Matrix:
    """Adjusted p-values, [replicate, hypothesis].

    `groups` are disjoint lists of hypotheses (all of them, by default in one group), `test` one test or one for each group;
    `correlation` [hypothesis, hypothesis] is read within groups that are tested parametrically. The parametric p-value is
    computed replicate by replicate: for real data rather than for simulated trials.
    """
    groups = [range(weighting.n)] if groups is None else groups
    tests: Sequence[Test] = [test] * len(groups) if isinstance(test, str) else test
    adjusted = np.zeros_like(p)
    for members, shares in _intersections(weighting, upscaled):
        found = np.full(len(p), np.inf)
        for group, own in zip(groups, tests, strict=True):
            held = [j for j in group if shares[j] > 0.0]
            if held:
                found = np.minimum(found, _group_p(p[:, held], shares[held], own, None if correlation is None else correlation[np.ix_(held, held)]))
        for j in members:
            adjusted[:, j] = np.maximum(adjusted[:, j], np.minimum(found, 1.0))
    return adjusted


def _intersections(weighting: Weighting, upscaled: bool = False) -> Iterator[tuple[list[int], Vector]]:
    """Every non-empty set of hypotheses, with its shares."""
    every = (1 << weighting.n) - 1
    for held in range(1, every + 1):
        shares = weighting.shares(every & ~held)
        total = shares.sum()
        yield [j for j in range(weighting.n) if held >> j & 1], shares / total if upscaled and total > 0.0 else shares


def _group_p(p: Matrix, shares: Vector, test: Test, correlation: Matrix | None) -> Vector:
    ratio = p / shares
    if test == "bonferroni":
        return np.asarray(ratio.min(-1))
    if test == "simes":
        # [replicate, hypothesis whose p-value is the limit, hypothesis]
        below = np.where(p[:, None, :] <= p[:, :, None], shares, 0.0).sum(-1)
        return np.asarray((p / below).min(-1))
    assert correlation is not None, "a parametric test needs the correlation"
    smallest = ratio.min(-1)
    found = np.empty(len(p))
    for row, ratio_reached in enumerate(smallest.tolist()):
        found[row] = _some_below(ratio_reached, shares, correlation) / shares.sum()
    return found


def _some_below(ratio: float, shares: Vector, correlation: Matrix) -> float:
    """P(some p_i / w_i ≤ ratio) where all hypotheses are true."""
    level = shares * ratio
    return 1.0 if level.max() >= 1.0 else 1.0 - probability_below(-ndtri(level), correlation)


def rejected_parametrically(p: Matrix, weighting: Weighting, *, groups: Sequence[Sequence[int]], correlation: Matrix, alpha: float) -> NDArray[np.bool_]:
    """Whether the closed test rejects at level alpha, [replicate, hypothesis]: `closed_test(…, test="parametric") <= alpha`.

    Groups of one hypothesis, and everything between groups, as Bonferroni.
    """
    p = np.where(np.isnan(p), 1.0, p)
    rejected = np.ones(p.shape, dtype=np.bool_)
    known = tuple(map(tuple, correlation.tolist()))
    for members, shares in _intersections(weighting):
        here = np.zeros(len(p), dtype=np.bool_)
        for group in groups:
            held = [j for j in group if shares[j] > 0.0]
            if held:
                inner = tuple(tuple(known[i][j] for j in held) for i in held)
                here |= (p[:, held] / shares[held]).min(-1) <= critical_ratio(tuple(shares[held].tolist()), inner, alpha)
        for j in members:
            rejected[:, j] &= here
    return rejected


@lru_cache(maxsize=4096)
def critical_ratio(shares: tuple[float, ...], correlation: tuple[tuple[float, ...], ...], alpha: float) -> float:
    """How small min p_j / w_j must be for the parametric test of an intersection to reject: P(some p_i / w_i ≤ c) = alpha Σ w_i.

    At least alpha, which is Bonferroni's (and what it is for one hypothesis).
    """
    if len(shares) == 1:
        return alpha
    w, r = np.array(shares), np.array(correlation)
    total = alpha * w.sum()

    def excess(ratio: float) -> float:
        return _some_below(ratio, w, r) - total

    high = total / float(w.max())  # the most that one hypothesis alone allows
    if excess(alpha) >= 0.0:
        return alpha
    return high if excess(high) <= 0.0 else float(brentq(excess, alpha, high, xtol=1e-14, rtol=1e-12))
