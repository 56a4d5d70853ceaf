"""Grids of numbers: found again where they are known, and never a patient's own digits."""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.cohort.fitted.resolution import MOST_POINTS, exact, grid_of

RNG = np.random.default_rng(20)
NORMAL = RNG.normal(70.0, 12.0, 2000)


def test_whole_numbers_stay_whole():
    grid = grid_of(NORMAL.round())
    assert (grid.steps, grid.decimals) == ((1.0,), 0)
    np.testing.assert_array_equal(grid.snap(np.array([61.4, 61.6, -3.0])), [61, 62, grid.low])


def test_a_coarser_step_of_all_values_is_found():
    assert grid_of((NORMAL / 7).round() * 7).steps == (7.0,)
    assert grid_of((NORMAL * 4).round() / 4).steps == (0.25,)


def test_people_who_round_to_tens_are_counted():
    """A third of the values rounded to tens: w = 1/3; its standard error at n = 2,000 is √(w (1 − w) / n) / 0.9 = 0.012."""
    tens = np.where(RNG.random(2000) < 1 / 3, (NORMAL / 10).round() * 10, NORMAL.round())
    grid = grid_of(tens)
    assert grid.steps[0] == 1.0
    assert 10.0 in grid.steps
    assert grid.shares[grid.steps.index(10.0)] == pytest.approx(1 / 3, abs=4 * 0.012)


def test_two_units_of_weight_are_told_apart():
    pounds = RNG.random(2000) < 0.6
    weights = np.where(pounds, (NORMAL / 0.4536).round() * 0.4536, NORMAL.round(1)).round(5)
    grid = grid_of(weights)
    assert {0.1, 0.4536} <= set(grid.steps)
    # 1 of 4,536 pounds is on the other lattice; the standard error of a share of 0.6 is 0.011
    assert grid.shares[grid.steps.index(0.4536)] == pytest.approx(0.6, abs=4 * 0.011)
    snapped = grid.snap(RNG.normal(70.0, 12.0, 4000), RNG.random(4000))
    inside = [np.isclose(snapped / step, np.rint(snapped / step), atol=1e-6).any() for step in (0.1, 0.4536)]
    assert all(inside)


def test_numbers_with_too_many_digits_lie_on_a_coarser_grid():
    grid = grid_of(NORMAL)
    width = float(np.ptp(NORMAL))
    assert width / MOST_POINTS / 10 <= grid.step <= width / 200
    assert not np.isin(grid.snap(NORMAL), NORMAL).any()


def test_a_skewed_column_keeps_its_small_values_apart():
    grid = grid_of(np.exp(RNG.normal(0.0, 3.0, 2000)))
    small = grid.snap(np.array([0.3, 0.5, 1.0]))
    assert len(np.unique(small)) == 3
    assert grid.low > 0


@pytest.mark.parametrize(
    "column",
    [np.zeros(60), np.full(60, 3.7), RNG.normal(0, 1e-9, 300), RNG.normal(1e12, 1e9, 300), np.r_[np.zeros(400), 1e6 * RNG.random(10)], -RNG.random(80), [5.0]],
    ids=["zeros", "constant", "tiny", "huge", "mostly zero", "negative", "one value"],
)
def test_odd_columns(column):
    column = np.asarray(column, dtype=float)
    grid = grid_of(column)
    snapped = grid.snap(np.r_[column, np.nan])
    assert np.isnan(snapped[-1])
    assert (np.abs(snapped[:-1] - column) <= grid.step * 0.51 + 1e-12 * np.abs(column)).all()
    assert (np.sign(snapped[:-1]) * np.sign(column) >= 0).all()


def test_bounds_are_round_and_no_patients_own():
    grid = grid_of(NORMAL)
    assert grid.low < NORMAL.min()
    assert grid.high > NORMAL.max()
    assert f"{grid.low:.2g}" == f"{grid.low:g}"
    assert grid_of(np.abs(NORMAL)).low >= 0


def test_a_column_that_is_worked_out_keeps_all_its_decimals():
    grid = exact(grid_of((NORMAL / 0.4536).round() * 0.4536))
    assert grid.snap(np.array([45.36, 45.3612]))[1] == 45.3612
