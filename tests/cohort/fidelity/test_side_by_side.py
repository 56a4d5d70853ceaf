"""One coding for two tables: levels, arms, rules, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from witness.samplers import MODELLED, ROLES, Truth, table_of, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.sampler import OutcomeRoles
from trialsim.data import Column
from trialsim.errors import DataError

NO_OUTCOMES = OutcomeRoles(arm=None, events={}, values={})


def test_levels_are_matched_by_name_not_by_place():
    real = table_of({"site": np.array([0.0, 1.0, 2.0, np.nan])}, levels={"site": ("a", "b", "c")})
    synthetic = table_of({"site": np.array([0.0, 1.0, 2.0, np.nan])}, levels={"site": ("c", "new", "a")})
    pair, _ = side_by_side(real, synthetic, modelled=["site"], roles=NO_OUTCOMES)
    column = pair.by_name["site"]
    assert column.levels == ("a", "b", "c", "new")
    np.testing.assert_array_equal(column.synthetic, [2.0, 3.0, 0.0, np.nan])
    np.testing.assert_array_equal(column.real, [0.0, 1.0, 2.0, np.nan])


def test_only_rows_of_the_arms_that_the_model_draws_are_compared():
    real = table_of({"arm": np.array([0.0, 1, 2, 3, 2, np.nan]), "x": np.arange(6.0)}, types={"arm": "integer"})
    synthetic = table_of({"arm": np.array([2.0, 1, 2]), "x": np.zeros(3)}, types={"arm": "integer"})
    roles = OutcomeRoles(arm="arm", events={}, values={})
    pair, rows = side_by_side(real, synthetic, modelled=["x", "arm"], roles=roles)
    assert rows.tolist() == [1, 2, 4]
    assert pair.arms == ("1", "2")
    assert pair.real_arm.tolist() == [0, 1, 1]
    assert pair.synthetic_arm.tolist() == [1, 0, 1]
    other, _ = side_by_side(real, synthetic, modelled=["x", "arm"], roles=roles, reference="2")
    assert other.arms == ("2", "1")
    assert other.real_arm.tolist() == [1, 0, 0]


def test_arms_that_are_words_are_in_the_datas_order():
    real = table_of({"arm": np.array([0.0, 1, 0])}, levels={"arm": ("placebo", "drug")})
    synthetic = table_of({"arm": np.array([0.0, 1])}, levels={"arm": ("drug", "placebo")})
    pair, _ = side_by_side(real, synthetic, modelled=["arm"], roles=OutcomeRoles(arm="arm", events={}, values={}))
    assert pair.arms == ("placebo", "drug")
    assert pair.synthetic_arm.tolist() == [1, 0]


def test_roles_rules_and_slices():
    model = Truth()
    pair, rows = side_by_side(trial(400, seed=2), model.synthesise(900, seed=1), modelled=MODELLED, roles=ROLES)
    assert len(rows) == 400
    assert {column.name: column.role for column in pair.columns} == {
        "x": "covariate",
        "age": "covariate",
        "sex": "covariate",
        "site": "covariate",
        "high": "covariate",
        "arm": "arm",
        "time": "time",
        "event": "event",
        "value": "value",
    }
    assert pair.rules == {"high": "x"}
    assert pair.is_bound("x", "high")
    assert not pair.is_bound("x", "age")
    part = pair.slice(100, 50)
    np.testing.assert_array_equal(part.by_name["age"].synthetic, pair.by_name["age"].synthetic[100:150])
    assert part.n_real == 400
    assert pair.only(np.array([3, 5])).n_real == 2


def test_columns_known_only_after_baseline_are_compared_and_are_no_covariates():
    real = table_of({"x": np.arange(60.0), "after": np.repeat([0.0, 1.0], 30)})
    real = replace(real, meaning={**real.meaning, "after": Column(type="binary", role="post_baseline")})
    pair, _ = side_by_side(real, real, modelled=["x", "after"], roles=NO_OUTCOMES)
    assert pair.by_name["after"].role == "other"
    assert [column.name for column in pair.covariates] == ["x"]


def test_a_follow_up_is_unknown_where_either_cell_is():
    columns = {"time": np.array([1.0, np.nan, 3.0, 4.0]), "event": np.array([1.0, 1.0, np.nan, 0.0])}
    table = table_of(columns)
    pair, _ = side_by_side(table, table, modelled=["time", "event"], roles=OutcomeRoles(arm=None, events={"e": ("time", "event")}, values={}))
    time, event = pair.follow_up("e", "real")
    np.testing.assert_array_equal(time, [1.0, np.nan, np.nan, 4.0])
    assert event[[0, 3]].tolist() == [True, False]


def test_missing_columns_and_absent_arms_are_refused_all_at_once():
    real = table_of({"x": np.zeros(3), "arm": np.array([5.0, 6.0, 5.0])}, types={"arm": "integer"})
    synthetic = table_of({"x": np.zeros(3), "arm": np.array([1.0, 2.0, 1.0])}, types={"arm": "integer"})
    roles = OutcomeRoles(arm="arm", events={}, values={})
    with pytest.raises(DataError) as error:
        side_by_side(real, synthetic, modelled=["x", "y", "z"], roles=roles)
    assert [str(problem) for problem in error.value.problems][:2] == [
        'made.csv  the model knows the column "y", which the data do not have',
        'made.csv  the model knows the column "z", which the data do not have',
    ]
    with pytest.raises(DataError, match=r"no row has an arm of the model \(1, 2\)"):
        side_by_side(real, synthetic, modelled=["x", "arm"], roles=roles)
