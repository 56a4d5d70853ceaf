from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from trialsim.evaluation.exact_sums import ExactSum, Moments, Share


def test_a_sum_is_the_correctly_rounded_one_in_any_order():
    rng = np.random.default_rng(5)
    values = (rng.normal(size=500) * 10.0 ** rng.integers(-12, 12, 500)).tolist()
    exact = float(sum(map(Fraction, values)))
    for order in (values, values[::-1], sorted(values)):
        total = ExactSum()
        for value in order:
            total.add(value)
        assert total.value == exact == math.fsum(values)


def test_moments_are_numpys_and_do_not_depend_on_the_order_of_later_chunks():
    rng = np.random.default_rng(6)
    values = rng.normal(1e6, 1.0, 4096 * 4 + 17)
    chunks = [values[i : i + 4096] for i in range(0, len(values), 4096)]
    moments, shuffled = Moments(), Moments()
    for chunk in chunks:
        moments.add(chunk)
    for i in (0, 3, 1, 4, 2):
        shuffled.add(chunks[i])
    assert moments.n == len(values)
    assert moments.mean == pytest.approx(values.mean(), rel=1e-15)
    assert moments.sd == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert (moments.mean, moments.sd) == (shuffled.mean, shuffled.sd)


def test_a_constant_column_has_no_spread_and_an_empty_chunk_changes_nothing():
    moments = Moments()
    for chunk in ([], [400, 400], [], [400]):
        moments.add(np.array(chunk, dtype=np.int32))
    assert (moments.n, moments.mean, moments.sd) == (3, 400.0, 0.0)


def test_a_share_counts():
    share = Share()
    share.add(np.array([True, False, True]))
    share.add(np.zeros(0, dtype=bool))
    assert (share.successes, share.n) == (2, 3)
