"""Copies, distances and unique values, against counting by hand and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.neighbors import NearestNeighbors
from witness.samplers import MODELLED, table_of, trial

from trialsim.cohort.disclosure.closeness import count_copies, distances, emitted_unique, more_than_chance, with_ratios
from trialsim.cohort.disclosure.space import Space


def test_copies_are_counted_over_all_columns_and_levels_by_name():
    real = table_of({"a": np.array([1.0, 2.0, np.nan, 0.0]), "site": np.array([0.0, 1.0, 2.0, 0.0])}, levels={"site": ("x", "y", "z")})
    other = table_of({"a": np.array([1.0, 2.0, np.nan, -0.0, 1.0]), "site": np.array([2.0, 0.0, 0.0, 2.0, 2.0])}, levels={"site": ("z", "y", "x")})
    assert count_copies(other, real, ("a", "site")) == 4  # not (2, z); missing is missing; −0 is 0; a row counts as often as it comes
    assert count_copies(other, real, ("a",)) == 5
    assert count_copies(other, real, ()) == 5


def test_distances_are_those_of_scikit_learn():
    table = trial(300, seed=1)
    space = Space.of(table, MODELLED)
    synthetic, train, holdout = (space.place(trial(n, seed=seed)) for n, seed in ((150, 2), (80, 3), (80, 4)))
    found = distances(synthetic, train, holdout)
    near = {
        side: NearestNeighbors(n_neighbors=2, algorithm="brute").fit(real.values).kneighbors(synthetic.values)[0]
        for side, real in (("train", train), ("holdout", holdout))
    }
    for side, rows in near.items():
        assert found[f"dcr_{side}_p5"] == pytest.approx(np.percentile(rows[:, 0], 5))
        assert found[f"nndr_{side}_median"] == pytest.approx(np.median(rows[:, 0] / rows[:, 1]))
    assert found["share_closer_to_train"] == pytest.approx((near["train"][:, 0] < near["holdout"][:, 0]).mean())
    ratios = with_ratios(found)
    assert ratios["dcr_ratio_p5"] == pytest.approx(found["dcr_train_p5"] / found["dcr_holdout_p5"])


def test_copied_rows_lie_closer_to_their_own_half():
    table = trial(200, seed=5)
    space = Space.of(table, MODELLED)
    points = space.place(table)
    found = distances(points.take(np.arange(100)), points.take(np.arange(100)), points.take(np.arange(100, 200)))
    assert found["share_closer_to_train"] == 1.0
    assert found["dcr_train_median"] == found["nndr_train_median"] == 0.0
    same = distances(points, points, points)
    assert same["share_closer_to_train"] == 0.5
    assert "dcr_ratio_p5" not in with_ratios(same)  # nothing over 0


def test_unique_values_are_counted_by_who_has_them():
    real = table_of({"a": np.array([1.5, 2.5, 2.5, 3.5, np.nan])})
    synthetic = table_of({"a": np.array([1.5, 1.5, 2.5, 3.5, 9.0, np.nan])})
    member = np.array([True, True, False, False, True])
    assert emitted_unique(synthetic, real, member, "a") == (2, 1)  # 2.5 is shared; missing is no value


def test_chance_is_judged_by_a_paired_t_test():
    counts = np.array([[5, 2], [4, 4], [6, 1], [3, 3]])
    expected = ttest_1samp(counts[:, 0] - counts[:, 1], 0.0, alternative="greater").pvalue
    assert more_than_chance(counts)["p_value"] == pytest.approx(expected)
    assert more_than_chance(np.zeros((4, 2), dtype=np.int64))["p_value"] == 1.0
    assert more_than_chance(np.array([[9, 0]] * 4))["p_value"] == 0.0


def test_a_bootstrap_emits_its_members_values_only():
    table = trial(200, seed=6)
    member = np.arange(200) < 100
    drawn = table.take(np.random.default_rng(1).integers(0, 100, 100))
    of_members, of_others = emitted_unique(drawn, table, member, "x")
    assert of_members == 100
    assert of_others == 0
    rounded = replace(table, columns={**table.columns, "x": np.round(table.columns["x"], 1)})
    shared = emitted_unique(rounded, rounded, member, "x")
    assert sum(shared) == sum(np.unique(rounded.columns["x"], return_counts=True)[1] == 1)
