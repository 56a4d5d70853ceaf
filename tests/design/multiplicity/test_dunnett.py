"""Dunnett's test: its distribution against simulation and closed forms, and the short cuts of simulated trials."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, stdtr

from trialsim.design.multiplicity import dunnett


def statistics(rng: np.random.Generator, n: int, b: np.ndarray, df: int | None, shift: float = 0.0) -> np.ndarray:
    z = b * rng.standard_normal((n, 1)) + np.sqrt(1 - b * b) * rng.standard_normal((n, len(b))) + shift
    return z if df is None else z / np.sqrt(rng.chisquare(df, (n, 1)) / df)


def test_one_arm_is_a_t_test() -> None:
    t, df = np.array([[-1.0], [0.3], [2.5], [7.0]]), np.array([3.0, 8.0, 30.0, 200.0])
    b = np.full((4, 1), 0.7)
    np.testing.assert_allclose(dunnett.single_step(t, b, df)[:, 0], stdtr(df, -t[:, 0]), atol=1e-12)
    np.testing.assert_allclose(dunnett.single_step(t, b, df, sides=2)[:, 0], 2 * stdtr(df, -np.abs(t[:, 0])), atol=1e-12)
    np.testing.assert_allclose(dunnett.step_down(t, b, None)[:, 0], ndtr(-t[:, 0]), atol=1e-12)


def test_without_correlation_normals_are_independent() -> None:
    c = np.array([[1.0, 2.0, np.inf]])
    np.testing.assert_allclose(dunnett.probability_within(c, np.zeros((1, 3)), None), ndtr(1.0) * ndtr(2.0), atol=1e-13)


@pytest.mark.parametrize("df", [None, 5, 60])
@pytest.mark.parametrize("sides", [1, 2])
def test_probabilities_against_simulation(df: int | None, sides: int) -> None:
    b, shift, n = np.array([0.5, 0.7, 0.95]), 0.4, 400_000
    t = statistics(np.random.default_rng(3), n, b, df, shift)
    critical = np.array([1.5, 1.8, 2.2])
    inside = ((np.abs(t) if sides == 2 else t) <= critical).all(-1).mean()
    found = dunnett.probability_within(critical, b, None if df is None else np.array([float(df)]), sides=sides, shift=np.full(3, shift))[0]
    assert abs(inside - found) < 4 * np.sqrt(found * (1 - found) / n)


def closed(t: np.ndarray, b: np.ndarray, df: float, sides: int) -> np.ndarray:
    """Every intersection, by single-step p-values of its own arms."""
    m, size = len(t), np.abs(t) if sides == 2 else t
    adjusted = np.zeros(m)
    for held in range(1, 1 << m):
        arms = [j for j in range(m) if held >> j & 1]
        top = np.full((1, len(arms)), size[arms].max())
        p = 1 - dunnett.probability_within(top, b[None, arms], np.array([df]), sides=sides)[0]
        adjusted[arms] = np.maximum(adjusted[arms], p)
    return adjusted


@pytest.mark.parametrize("sides", [1, 2])
def test_step_down_is_the_closed_test_with_unequal_arms_too(sides: int) -> None:
    rng, b = np.random.default_rng(6), np.array([0.4, 0.6, 0.8])
    for t in statistics(rng, 15, b, 12, 1.5):
        np.testing.assert_allclose(dunnett.step_down(t[None], b[None], np.array([12.0]), sides=sides)[0], closed(t, b, 12.0, sides), atol=1e-11)


def test_rejections_are_adjusted_p_values_below_alpha() -> None:
    b = np.array([0.5, 0.7, 0.8])
    t = statistics(np.random.default_rng(7), 300, b, 20, 1.8)
    t[0, 1] = np.nan
    for df, sides in ((np.full(300, 20.0), 1), (np.full(300, 20.0), 2), (None, 1)):
        adjusted = dunnett.step_down(t, b[None], df, sides=sides)
        assert np.array_equal(dunnett.rejected_step_down(t, b[None], df, alpha=0.05, sides=sides), np.nan_to_num(adjusted, nan=1.0) <= 0.05)
        assert np.isnan(adjusted[0, 1])
        assert not np.isnan(adjusted[0, [0, 2]]).any()


def test_the_level_is_used_up() -> None:
    b = np.array([0.6, 0.7, 0.8])
    t = statistics(np.random.default_rng(9), 40_000, b, 15)
    rate = dunnett.rejected_step_down(t, b[None], np.full(40_000, 15.0), alpha=0.05).any(-1).mean()
    assert abs(rate - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 40_000)


def test_a_replicate_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(1)
    b = rng.uniform(0.3, 0.95, (30, 3))
    t = rng.normal(1.0, 1.5, (30, 3))
    df = rng.integers(3, 80, 30).astype(float)
    every = dunnett.step_down(t, b, df)
    assert np.array_equal(every, np.concatenate([dunnett.step_down(t[at : at + 7], b[at : at + 7], df[at : at + 7]) for at in range(0, 30, 7)]))
    assert np.array_equal(every[4:5], dunnett.step_down(t[4:5], b[4:5], df[4:5]))
