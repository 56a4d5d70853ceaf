"""Rules: step functions, copies, and what is determined; with exceptions, missing cells and ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.cohort.fitted.rules import Copy, Rule, copy_of, determined, roundest, rule_as_json, rule_from_json, step_function

RNG = np.random.default_rng(5)


def test_a_cut_at_an_atom_is_the_atom_itself():
    days = np.where(RNG.random(400) < 0.4, 0.0, 3 + RNG.gamma(1.5, 100, 400))
    found = step_function(days, (days > 0).astype(float))
    assert found == (0.0, (0.0,), (0, 1))
    ceiling = np.minimum(RNG.normal(8, 2, 400), 10.0)
    (_, (cut,), levels) = step_function(ceiling, (ceiling == 10.0).astype(float))
    assert levels == (0, 1)
    assert ceiling[ceiling < 10].max() < cut < 10.0


def test_a_cut_is_a_round_number_and_no_patients_own():
    age = RNG.normal(60, 10, 400)
    _, (cut,), _ = step_function(age, (age > 65).astype(float))
    assert cut not in age
    assert len(f"{cut:g}") <= 6


@pytest.mark.parametrize(
    "low, high, round_number", [(7.0, 10.0, 8.0), (8.0, 9.0, 8.5), (-1.0, 2.0, 0.0), (364.0, 369.0, 365.0), (0.12, 0.19, 0.15), (-9.0, -7.0, -8.0)]
)
def test_the_roundest_number_between_two(low, high, round_number):
    assert roundest(low, high) == round_number


def test_a_step_function_may_fall_and_skip_levels():
    x = RNG.normal(size=600)
    y = np.select([x < -0.5, x < 0.5], [2.0, 0.0], 1.0)
    _, cuts, levels = step_function(x, y)
    assert levels == (2, 0, 1)
    np.testing.assert_allclose(cuts, [-0.5, 0.5], atol=0.05)
    rule = Rule("x", cuts, levels, (0.0, 1.0, 2.0))
    assert (rule.level(torch.from_numpy(x)).numpy() == y).mean() > 0.999


def test_few_exceptions_are_forgiven_and_many_are_not():
    x = RNG.normal(size=1000)
    y = (x > 0).astype(float)
    y[:8] = 1 - y[:8]
    assert step_function(x, y) is not None
    y[:30] = 1 - y[:30]
    assert step_function(x, y) is None
    rare = (x > np.quantile(x, 0.99)).astype(float)  # 10 patients; 5 exceptions are half of them
    rare[np.argsort(x)[-5:]] = 0
    rare[:5] = 1
    assert step_function(x, rare) is None


def test_missing_cells_are_not_evidence():
    x, y = RNG.normal(size=300), np.full(300, np.nan)
    assert step_function(x, y) is None
    assert not determined(x, y)
    y[:150] = x[:150] > 0
    assert step_function(x, y) is not None


def test_what_determines_what():
    arms = RNG.integers(0, 4, 800).astype(float)
    treat = (arms > 0).astype(float)
    other = RNG.integers(0, 2, 800).astype(float)
    assert determined(arms, treat)
    assert not determined(treat, arms)
    assert not determined(other, treat)
    assert not determined(treat, np.r_[np.ones(4), np.zeros(796)])  # nearly constant: anything would do


def test_copies_in_another_unit_are_found():
    kg = RNG.normal(75, 12, 500).round(1)
    intercept, slope = copy_of(kg, (kg * 2.2046).round(1), steps=(0.1, 0.1))
    assert (intercept, slope) == (pytest.approx(0.0, abs=0.1), pytest.approx(2.2046, abs=1e-3))
    celsius = RNG.normal(37, 0.5, 500).round(1)
    intercept, slope = copy_of(celsius, (celsius * 1.8 + 32).round(2), steps=(0.1, 0.01))
    assert (intercept, slope) == (pytest.approx(32, abs=0.05), pytest.approx(1.8, abs=1e-3))
    assert copy_of(kg, kg.copy(), steps=(0.1, 0.1)) == (0.0, 1.0)


def test_two_measurements_of_one_thing_are_no_copies():
    first = RNG.normal(75, 12, 500).round(1)
    assert copy_of(first, (first + RNG.normal(0, 0.3, 500)).round(1), steps=(0.1, 0.1)) is None
    assert copy_of(first, np.full(500, 3.0), steps=(0.1, 0.1)) is None


def test_rules_go_to_files_and_back():
    for rule in (Rule("x", (0.0, 1.5), (0, 2, 1), (0.0, 1.0, 2.0)), Copy("x", 32.0, 1.8)):
        assert rule_from_json(rule_as_json(rule)) == rule
