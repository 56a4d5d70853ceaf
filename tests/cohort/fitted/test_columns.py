"""Which columns are modelled, and how."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.cohort.fitted.columns import arm_index, covariates_of
from trialsim.data import Card, PatientTable, read_table
from trialsim.errors import DataError


def _table(tmp_path, columns: dict[str, np.ndarray], card: dict[str, dict]) -> PatientTable:
    lines = [",".join(columns)] + [",".join("" if cell != cell else str(cell) for cell in row) for row in zip(*columns.values(), strict=True)]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_table(path, Card.model_validate({"id": "d", "title": "d", "source": "d", "columns": card}))


def _covariates(table: PatientTable):
    found, left_out = covariates_of(table, rows=np.ones(table.n, dtype=bool), without=())
    return {covariate.name: covariate for covariate in found}, left_out


def test_actg175(actg_table: PatientTable):
    found, left_out = covariates_of(actg_table, rows=np.ones(actg_table.n, dtype=bool), without=["treat", "days", "cens", "cd420"])
    covariates = {covariate.name: covariate for covariate in found}
    assert [name for name, covariate in covariates.items() if covariate.kind == "smooth"] == ["age", "wtkg", "preanti", "cd40", "cd80"]
    assert left_out["zprior"] == "it is constant"
    assert {left_out[name] for name in ("cd496", "cd820", "offtrt", "r")} == {"its role is outcome", "its role is post_baseline"}
    assert covariates["age"].unit == "time"
    assert np.nanmean(covariates["age"].column) == pytest.approx(365.25 * actg_table.numbers("age").mean())
    assert covariates["karnof"].values.tolist() == [70, 80, 90, 100]
    assert covariates["preanti.atom"].hidden
    assert covariates["preanti"].atoms[0] == 0
    assert {name: (c.rule.source, c.rule.cuts) for name, c in covariates.items() if c.rule is not None} == {
        "str2": ("preanti", (8.0,)),  # the roundest number between 7 and 10
        "strat": ("preanti", (8.0, 366.5)),
    }


def test_a_rule_is_followed():
    """`strat` of ACTG175 in the data's own values."""
    from trialsim.cohort.fitted.columns import Rule

    rule = Rule(source="preanti", cuts=(8.5, 366.5), levels=(0, 1, 2), values=(0.0, 1.0, 2.0))
    assert rule.level(torch.tensor([0.0, 8.0, 9.0, 366.0, 367.0], dtype=torch.float64)).tolist() == [0, 0, 1, 1, 2]
    falling = Rule(source="x", cuts=(1.0,), levels=(2, 0), values=(0.0, 1.0, 2.0))
    assert falling.level(torch.tensor([0.0, 2.0], dtype=torch.float64)).tolist() == [2, 0]


def test_copies_and_steps_become_rules_and_chance_does_not(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=300).round(3)
    sex = rng.integers(0, 2, 300)
    rare = np.zeros(300, dtype=int)
    rare[:7] = 1
    columns = {"x": x, "old": (x > 0.4).astype(int), "sex": sex, "copy": 1 - sex, "rare": rare, "noisy": np.where(np.arange(300) < 30, 1 - sex, sex)}
    card = {name: {"type": "continuous" if name == "x" else "binary"} for name in columns}
    found, _ = _covariates(_table(tmp_path, columns, card))
    assert {name: c.rule.source for name, c in found.items() if c.rule is not None} == {"old": "x", "copy": "sex"}
    assert found["copy"].rule.levels == (1, 0)


def test_rare_levels_join_a_neighbour(tmp_path):
    stage = np.repeat([1, 2, 3, 4], [100, 80, 60, 3])
    yes = np.repeat([0, 1], [240, 3])
    columns = {"stage": stage, "score": stage * 10, "yes": yes}
    card = {"stage": {"type": "categorical", "levels": ["1", "2", "3", "4"]}, "score": {"type": "integer"}, "yes": {"type": "binary"}}
    found, left_out = _covariates(_table(tmp_path, columns, card))
    assert found["stage"].levels == ("1", "2", "3")
    assert np.bincount(found["stage"].column.astype(int)).tolist() == [100, 80, 63]
    assert found["score"].values.tolist() == [10, 20, 30]
    assert left_out == {"yes": "fewer than 5 patients differ from the rest"}


def test_atoms_at_both_ends_share_one_gate(tmp_path):
    rng = np.random.default_rng(2)
    titre = np.clip(rng.normal(5, 2, 500), 3, 8)
    found, _ = _covariates(_table(tmp_path, {"titre": titre}, {"titre": {"type": "continuous"}}))
    assert list(found) == ["titre.atom", "titre"]
    np.testing.assert_array_equal(found["titre"].atoms, [3, np.nan, 8])
    assert np.bincount(found["titre.atom"].column.astype(int)).tolist() == [(titre == 3).sum(), ((titre > 3) & (titre < 8)).sum(), (titre == 8).sum()]


def test_text_and_empty_columns_are_left_out(tmp_path):
    columns = {"x": np.arange(30.0), "note": np.arange(30), "empty": np.full(30, np.nan)}
    _, left_out = _covariates(_table(tmp_path, columns, {"x": {"type": "continuous"}, "note": {"type": "text"}, "empty": {"type": "continuous"}}))
    assert left_out == {"note": "it is text", "empty": "it has 0 values"}


def test_arms_by_their_values(actg_table: PatientTable):
    index = arm_index(actg_table, "arms", {"zdv": 0, "ddi": "3"})
    assert np.bincount(index + 1).tolist() == [2139 - 532 - 561, 532, 561]
    with pytest.raises(DataError, match=r'no row has treat = 7 \(arm "new"\)'):
        arm_index(actg_table, "treat", {"new": 7})
    with pytest.raises(DataError, match='there is no column "treatt"; did you mean "treat"'):
        arm_index(actg_table, "treatt", {"new": 1})
