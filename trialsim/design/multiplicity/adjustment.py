"""Adjusted p-values of procedures that know only how many hypotheses there are, or their order: [replicate, hypothesis] in and out.

A hypothesis is rejected at family-wise level alpha exactly when its adjusted p-value is at most alpha. With p_(1) ≤ … ≤ p_(m):

    bonferroni       m p_i                                            any dependence
    sidak            1 - (1 - p_i)^m                                  independent or positively orthant dependent
    holm             max over j ≤ i of (m - j + 1) p_(j)              any dependence
    holm_sidak       max over j ≤ i of 1 - (1 - p_(j))^(m - j + 1)    as sidak
    hochberg         min over j ≥ i of (m - j + 1) p_(j)              as Simes: positive dependence (MTP2)
    hommel           closure of Simes' test                           as Simes
    fixed_sequence   max over j ≤ i of p_j, in the order given        any dependence
    benjamini_hochberg, benjamini_yekutieli: the false discovery rate, not the family-wise error rate.

A p-value of NaN (an analysis that failed) counts as 1 for the others and stays NaN.

**Source:** Holm 1979 (Scand J Stat 6:65); Hochberg 1988 (doi 10.1093/biomet/75.4.800); Hommel 1988 (doi 10.1093/biomet/75.2.383)
and its algorithm by Wright 1992 (doi 10.2307/2532694); Šidák 1967 (doi 10.1080/01621459.1967.10482935); Maurer, Hothorn &
Lehmacher 1995 (fixed sequence); Benjamini & Hochberg 1995 (doi 10.1111/j.2517-6161.1995.tb02031.x); Benjamini & Yekutieli 2001
(doi 10.1214/aos/1013699998).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""[replicate, hypothesis]"""
Adjustment = Callable[[Matrix], Matrix]


def failures_as_one(adjustment: Callable[..., Matrix]) -> Callable[..., Matrix]:
    """NaN counts as 1 for the other hypotheses and stays NaN; no adjusted p-value is above 1."""

    @functools.wraps(adjustment)
    def adjusted(p: Matrix, *args: object, **options: object) -> Matrix:
        given = np.asarray(p, dtype=np.float64)
        failed = np.isnan(given)
        found = np.minimum(adjustment(np.where(failed, 1.0, given), *args, **options), 1.0)
        return np.where(failed, np.nan, found)

    return adjusted


def _in_order(p: Matrix) -> tuple[Matrix, NDArray[np.int64], Matrix]:
    """Sorted p-values, how to put them back, and m, m - 1, …, 1."""
    order = np.argsort(p, axis=-1, kind="stable")
    back = np.argsort(order, axis=-1, kind="stable")
    return np.take_along_axis(p, order, axis=-1), back, np.arange(p.shape[-1], 0, -1, dtype=np.float64)


def _sidak(p: Matrix, m: Matrix | float) -> Matrix:
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(m * np.log1p(-np.minimum(p, 1.0))))


@failures_as_one
def bonferroni(p: Matrix) -> Matrix:
    """m p."""
    return p.shape[-1] * p


@failures_as_one
def sidak(p: Matrix) -> Matrix:
    """1 - (1 - p)^m."""
    return _sidak(p, float(p.shape[-1]))


@failures_as_one
def holm(p: Matrix) -> Matrix:
    """Step-down Bonferroni."""
    ordered, back, left = _in_order(p)
    return np.take_along_axis(np.maximum.accumulate(left * ordered, axis=-1), back, axis=-1)


@failures_as_one
def holm_sidak(p: Matrix) -> Matrix:
    """Step-down Šidák."""
    ordered, back, left = _in_order(p)
    return np.take_along_axis(np.maximum.accumulate(_sidak(ordered, left), axis=-1), back, axis=-1)


def _from_the_largest(values: Matrix) -> Matrix:
    return np.minimum.accumulate(values[..., ::-1], axis=-1)[..., ::-1]


@failures_as_one
def hochberg(p: Matrix) -> Matrix:
    """Step-up Bonferroni."""
    ordered, back, left = _in_order(p)
    return np.take_along_axis(_from_the_largest(left * ordered), back, axis=-1)


@failures_as_one
def hommel(p: Matrix) -> Matrix:
    """The closure of Simes' test, in O(m²)."""
    ordered, back, _ = _in_order(p)
    m = p.shape[-1]
    rank = np.arange(1, m + 1, dtype=np.float64)
    adjusted = np.repeat((m * ordered / rank).min(-1, keepdims=True), m, axis=-1)
    for size in range(m - 1, 1, -1):
        # Simes over the `size` largest but one of the rest: what intersections of this size demand at least.
        split = m - size + 1
        among_largest = (size * ordered[..., split:] / rank[1:size]).min(-1, keepdims=True)
        low = np.minimum(size * ordered[..., :split], among_largest)
        adjusted = np.maximum(adjusted, np.concatenate([low, np.repeat(low[..., -1:], size - 1, axis=-1)], axis=-1))
    return np.take_along_axis(np.maximum(adjusted, ordered), back, axis=-1)


@failures_as_one
def fixed_sequence(p: Matrix) -> Matrix:
    """Each hypothesis is tested at full alpha, in the order given, until one is not rejected."""
    return np.maximum.accumulate(p, axis=-1)


@failures_as_one
def benjamini_hochberg(p: Matrix) -> Matrix:
    """False discovery rate, for independent or positively dependent p-values."""
    ordered, back, left = _in_order(p)
    m = p.shape[-1]
    return np.take_along_axis(_from_the_largest(m / left[::-1] * ordered), back, axis=-1)


@failures_as_one
def benjamini_yekutieli(p: Matrix) -> Matrix:
    """False discovery rate, whatever the dependence."""
    ordered, back, left = _in_order(p)
    m = p.shape[-1]
    return np.take_along_axis(_from_the_largest((1.0 / left).sum() * m / left[::-1] * ordered), back, axis=-1)
