"""Streamed quantiles against NumPy on the whole column, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialsim.evaluation.mcse import quantile_mcse, quantile_ranks
from trialsim.evaluation.quantiles import Selection, from_key, sort_key, stream_quantiles

PROBABILITIES = (0.1, 0.5, 0.9)


def columns(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {
        "continuous": rng.gamma(3.0, 200.0, n),
        "signed": rng.normal(0.0, 1e-3, n),
        "counts": rng.integers(240, 260, n).astype(float),
        "constant": np.full(n, 400.0),
        "wide": rng.normal(size=n) * 10.0 ** rng.integers(-300, 300, n),
    }


@pytest.mark.parametrize("n", [1, 2, 3, 100, 20_011])
@pytest.mark.parametrize("capacity", [0, 5, 1000, 1 << 18])
def test_the_quantiles_of_any_column_are_numpys_whatever_fits_in_memory(n, capacity):
    data = columns(n)
    reads = 0

    def passes():
        nonlocal reads
        reads += 1
        for i in range(0, n, 4096):
            yield {name: values[i : i + 4096] for name, values in data.items()}

    found = stream_quantiles(passes, tuple(data), n, PROBABILITIES, capacity=capacity)
    assert reads <= 4
    assert reads == 1 or n > capacity
    for name, values in data.items():
        ordered = np.sort(values)
        for quantile in found[name]:
            assert quantile.estimate == pytest.approx(np.quantile(values, quantile.p), rel=1e-14)
            low, high = quantile_ranks(quantile.p, n)
            assert quantile.mcse == quantile_mcse(ordered[low - 1], ordered[high - 1], quantile.p, n)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=40), st.data())
def test_any_order_statistic_of_any_floats(values, data):
    column = np.array(values)
    rank = data.draw(st.integers(1, len(values)))
    selection = Selection([rank], len(values), capacity=data.draw(st.integers(0, 8)))
    while not selection.done:
        selection.feed(column)
        selection.end_pass()
    assert selection.values[rank] == np.sort(column)[rank - 1]


def test_keys_keep_the_order_and_come_back():
    values = np.array([-np.inf, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1e300, np.inf])
    keys = sort_key(values)
    assert (np.diff(keys.astype(object)) > 0).all()
    assert [from_key(int(key)) for key in keys] == values.tolist()
    assert sort_key(np.array([-0.0])) == sort_key(np.array([0.0]))


def test_no_replicates_no_quantiles():
    assert stream_quantiles(lambda: iter(()), ("a",), 0, PROBABILITIES) == {"a": []}
