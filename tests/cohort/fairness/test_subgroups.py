"""Subgroups: levels of columns with few values, halves of the others."""

from __future__ import annotations

import numpy as np
from witness.samplers import MODELLED, ROLES, Truth, table_of, trial

from trialsim.cohort.fairness import subgroups
from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.sampler import OutcomeRoles


def test_levels_and_halves_of_covariates_only():
    pair, _ = side_by_side(trial(501, seed=1), Truth().synthesise(1000, seed=2), modelled=MODELLED, roles=ROLES)
    found = subgroups(pair)
    names = [group.name for group in found]
    assert names[4:] == ["sex = 0", "sex = 1", "site = north", "site = south", "site = west", "high = 0", "high = 1"]
    assert [group.column for group in found[:4]] == ["x", "x", "age", "age"]
    for column in ("x", "age", "sex", "site", "high"):
        own = [group for group in found if group.column == column]
        assert sum(group.n_real for group in own) == 501
        assert sum(group.n_synthetic for group in own) == 1000
    assert (found[0].n_real, found[1].n_real) == (251, 250)


def test_halves_where_more_than_half_have_the_largest_value():
    x = np.concatenate((np.arange(40.0), np.full(60, 100.0)))
    table = table_of({"x": x})
    low, high = subgroups(side_by_side(table, table, modelled=["x"], roles=OutcomeRoles(None, {}, {}))[0])
    assert (low.n_real, high.n_real) == (40, 60)


def test_patients_without_the_cell_are_in_no_subgroup_of_it():
    x = np.concatenate((np.arange(40.0), np.full(10, np.nan)))
    table = table_of({"x": x, "nothing": np.full(50, np.nan)})
    pair, _ = side_by_side(table, table, modelled=["x", "nothing"], roles=OutcomeRoles(None, {}, {}))
    assert sum(group.n_real for group in subgroups(pair)) == 40
