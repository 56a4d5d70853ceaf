"""Where patients lie, against scikit-learn, SciPy and a second way to count distances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.neighbors import NearestNeighbors
from witness.samplers import table_of, trial

from trialsim.cohort.disclosure.space import Space, nearest

NAMES = ("x", "age", "sex", "site", "value")


def test_numbers_lie_at_their_normal_scores():
    table = table_of({"a": np.array([3.0, 1.0, 1.0, np.nan, 7.0, 5.0]), "b": np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0])})
    points = Space.of(table, ("a", "b")).place(table)
    known = [0, 1, 2, 4, 5]
    expected = norm.ppf((rankdata(table.columns["a"][known]) - 0.5) / 5)
    np.testing.assert_allclose(points.values[known, 0], expected, atol=1e-12)
    assert points.values[3, 0] == points.known[3, 0] == 0.0
    np.testing.assert_array_equal(points.values[:, 1:], np.stack((1 - table.columns["b"], table.columns["b"]), axis=1))


def test_neighbours_are_those_of_scikit_learn():
    space = Space.of(trial(400, seed=1), NAMES)
    one, two = space.place(trial(300, seed=2)), space.place(trial(500, seed=3))
    distance, which = nearest(one, two, 5)
    expected, rows = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(two.values).kneighbors(one.values)
    np.testing.assert_allclose(distance, expected, atol=1e-9)
    np.testing.assert_array_equal(which, rows)


def test_missing_cells_are_masked():
    """Against the definition, cell by cell."""
    reference = trial(200, seed=4)
    space = Space.of(reference, NAMES)
    rng = np.random.default_rng(5)

    def holed(table):
        return replace(table, columns={name: np.where(rng.random(table.n) < 0.3, np.nan, column) for name, column in table.columns.items()})

    one, two = holed(trial(20, seed=6)), holed(trial(30, seed=7))
    distance, which = nearest(space.place(one), space.place(two), 30)
    square = np.zeros((20, 30))
    for name in NAMES:
        a, b = one.columns[name][:, None], two.columns[name][None]
        if name in ("sex", "site"):
            apart = 2.0 * (a != b)
        else:
            score = [np.interp(column, *space.curves[name]) for column in (a, b)]
            apart = (score[0] - score[1]) ** 2
        square += np.where(np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(a) | np.isnan(b), 1.0, apart))
    np.testing.assert_allclose(distance, np.sqrt(np.sort(square, axis=1)), atol=1e-9)
    np.testing.assert_allclose(np.take_along_axis(np.sqrt(square), which, axis=1), distance, atol=1e-9)


def test_a_copy_is_at_distance_0_and_too_few_rows_repeat_the_farthest():
    table = trial(50, seed=8)
    points = Space.of(table, NAMES).place(table)
    distance, which = nearest(points, points.take(np.arange(3)), 5)
    assert (distance[:3, 0] == 0.0).all()
    assert (distance[:, 3:] == distance[:, [2]]).all()
    assert (which[:, 3:] == which[:, [2]]).all()


def test_blocks_of_patients_change_no_bit(monkeypatch: pytest.MonkeyPatch):
    space = Space.of(trial(400, seed=1), NAMES)
    one, two = space.place(trial(101, seed=2)), space.place(trial(97, seed=3))
    whole = nearest(one, two, 4)
    monkeypatch.setattr("trialsim.cohort.disclosure.space.CELLS_AT_ONCE", 97 * 10)
    for first, second in zip(whole, nearest(one, two, 4), strict=True):
        np.testing.assert_array_equal(first, second)


def test_levels_are_met_by_their_names():
    one = table_of({"site": np.array([0.0, 1.0, 2.0])}, levels={"site": ("north", "south", "west")})
    two = table_of({"site": np.array([0.0, 1.0, 2.0])}, levels={"site": ("west", "east", "north")})
    space = Space.of(one, ("site",))
    np.testing.assert_array_equal(space.place(one).values, np.eye(3))
    np.testing.assert_array_equal(space.place(two).values, [[0, 0, 1], [0, 0, 0], [1, 0, 0]])


def test_columns_that_never_vary_have_no_axis():
    table = table_of({"same": np.full(9, 4.0), "empty": np.full(9, np.nan), "x": np.arange(9.0)})
    space = Space.of(table, ("same", "empty", "x"))
    assert space.names == ("x",)
    assert space.place(table).values.shape == (9, 1)
    assert list(space.axes(("x",))) == [0]
