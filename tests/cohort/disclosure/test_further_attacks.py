"""Singling out, linkability and attribute inference: by hand on small tables, and on models that read nobody or memorise."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint
from witness.samplers import MODELLED, trial

from trialsim.cohort.disclosure.inference import guessed, linked
from trialsim.cohort.disclosure.rates import risk
from trialsim.cohort.disclosure.singling_out import cells, multivariate, univariate
from trialsim.cohort.disclosure.space import Space, is_category


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_predicates_on_one_column_by_hand():
    synthetic = np.array([[1.0], [2.0], [2.0], [5.0], [np.nan]])  # alone: 1 and 5; ends: ≤ 1, ≥ 5
    train, holdout = np.array([[1.0], [5.0], [6.0], [3.0]]), np.array([[1.0], [1.0], [9.0], [np.nan]])
    hits = univariate(synthetic, train, holdout)
    assert hits[0].tolist() == [True, True, True, False]  # x = 1, x = 5, x ≤ 1; two are ≥ 5
    assert hits[1].tolist() == [False, False, False, True]


def test_predicates_on_several_columns_by_brute_force():
    tables = [trial(n, seed=seed) for n, seed in ((120, 1), (80, 2), (80, 3))]
    arrays = [cells(table, MODELLED, tables[0]) for table in tables]
    category = np.array([is_category(tables[0], name) for name in MODELLED])
    hits = multivariate(*arrays, category=category, attacks=200, generator=rng(4), attributes=3)
    again, expected = rng(4), ([], [])
    median = np.median(arrays[0], axis=0)
    for _ in range(0, 1600, 256):
        rows, columns = again.integers(120, size=256), np.argsort(again.random((256, len(MODELLED))), axis=1)[:, :3]
        for row, chosen in zip(rows, columns, strict=True):
            fits = []
            for array in arrays:
                told = np.ones(len(array), dtype=bool)
                for column in chosen:
                    v = arrays[0][row, column]
                    told &= array[:, column] == v if category[column] else array[:, column] >= v if v > median[column] else array[:, column] <= v
                fits.append(told.sum())
            if fits[0] == 1:
                expected[0].append(fits[1] == 1)
                expected[1].append(fits[2] == 1)
    assert 0 < len(hits[0]) <= 200
    for found, other in zip(hits, expected, strict=True):
        assert found.tolist() == other[: len(found)]


def test_a_bootstrap_is_attacked_and_the_true_law_is_not():
    """Rows drawn again tell of their patients; rows of the same law tell of nobody: its risks' 95 % intervals hold 0."""
    table = trial(600, seed=5)
    space = Space.of(table, MODELLED)
    train, holdout = table.take(np.arange(300)), table.take(np.arange(300, 600))
    honest, copies = trial(300, seed=6), train.take(rng(7).integers(0, 300, 300))
    found = {}
    for name, synthetic in (("honest", honest), ("copies", copies)):
        places = [space.place(each) for each in (train, holdout, synthetic)]
        arrays = [cells(each, space.names, table) for each in (synthetic, train, holdout)]
        category = np.array([is_category(table, column) for column in space.names])
        link = [linked(each, places[2], space, generator=rng(8)) for each in places[:2]]
        guess = [
            guessed(each, places[2], space, "age", cells=own[:, 1], guesses=arrays[0][:, 1], category=False)
            for each, own in zip(places[:2], arrays[1:], strict=True)
        ]
        found[name] = {
            "predicates": risk(*multivariate(*arrays, category=category, attacks=500, generator=rng(9))),
            "values": risk(*univariate(*arrays)),
            "links": risk(*link),
            "guesses": risk(*guess),
        }
    for kind in ("predicates", "values", "links", "guesses"):
        assert found["copies"][kind]["ci_low"] > 0.1, kind
        assert found["honest"][kind]["ci_low"] <= 0.0 <= found["honest"][kind]["ci_high"], kind


def test_a_guess_by_hand():
    table = trial(200, seed=10)
    space = Space.of(table, ("x", "sex"))
    own = table.columns
    hit = guessed(space.place(table), space.place(table), space, "sex", cells=own["sex"], guesses=own["sex"], category=True)
    assert hit.all()  # x tells the row, and the row is the patient
    holes = np.where(np.arange(200) < 50, np.nan, own["sex"])
    assert len(guessed(space.place(table), space.place(table), space, "sex", cells=holes, guesses=own["sex"], category=True)) == 150
    assert not guessed(space.place(table), space.place(table), space, "sex", cells=own["sex"], guesses=np.full(200, np.nan), category=True).any()


def test_the_risk_has_wilsons_intervals():
    success, control = np.arange(50) < 20, np.arange(80) < 8
    found = risk(success, control)
    ends = [proportion_confint(count, n, method="wilson") for count, n in ((20, 50), (8, 80))]
    (r, dr), (c, dc) = [((low + high) / 2, (high - low) / 2) for low, high in ends]
    assert found["risk"] == pytest.approx((r - c) / (1 - c))
    half = np.hypot(dr / (1 - c), (1 - r) / (1 - c) ** 2 * dc)
    assert found["ci_high"] - found["risk"] == pytest.approx(half)
    assert found["success"] == 0.4
    assert risk(success[:0], control[:0])["ci_low"] == -1.0


def test_one_column_cannot_be_linked():
    table = trial(60, seed=11)
    space = Space.of(table, ("x",))
    assert not linked(space.place(table), space.place(table), space, generator=rng(1)).any()
