"""The whole table of ACTG175, with the shipped card and with one that describes no columns: dependence, forms, privacy, trials."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from trialsim.cohort.fitted import FittedCohort, fit_table
from trialsim.cohort.fitted.publishing import publish
from trialsim.cohort.population import EventColumns
from trialsim.data import PatientTable
from trialsim.errors import DataError
from trialsim.rng import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

ROOT = Path(__file__).parents[3]
OUTCOMES = {"event": EventColumns(time="days", event="cens")}
BOUND = [{"str2", "strat", "preanti"}, {"treat", "arms"}]  # and cd496 with r, which is whether cd496 is there


@pytest.fixture(scope="module")
def model(actg_table: PatientTable) -> FittedCohort:
    return fit_table(actg_table, outcomes=OUTCOMES, arm="treat", on=date(2026, 6, 1))


@pytest.fixture(scope="module")
def undescribed(actg_table: PatientTable) -> tuple[PatientTable, FittedCohort]:
    """The data with a card that describes no columns, as they are then read."""
    from trialsim.data import read_table

    assert actg_table.card is not None
    table = read_table(ROOT / "trials" / "data" / "actg175.csv", actg_table.card.model_copy(update={"columns": {}}))
    return table, fit_table(table, outcomes=OUTCOMES, arm="treat", on=date(2026, 6, 1))


def correlation_errors(real: PatientTable, synthetic: PatientTable, names: tuple[str, ...]) -> Mapping[tuple[str, str], float]:
    """|error| of the correlation of every pair that no rule binds, by pairs of patients in whom both are seen."""
    one, two = (np.ma.corrcoef(np.ma.masked_invalid(np.stack([t.columns[name] for name in names]))) for t in (real, synthetic))
    pairs = [(a, b) for a in range(len(names)) for b in range(a)]
    free = [(a, b) for a, b in pairs if not any({names[a], names[b]} <= bound for bound in BOUND) and {names[a], names[b]} != {"r", "cd496"}]
    return {(names[a], names[b]): float(abs(one[a, b] - two[a, b])) for a, b in free}


def auc(real: PatientTable, synthetic: PatientTable, names: tuple[str, ...]) -> float:
    """How well boosted trees tell real from synthetic patients."""
    both = np.concatenate([np.stack([t.columns[name][: real.n] for name in names], axis=1) for t in (real, synthetic)])
    label = np.repeat([1, 0], real.n)
    trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0)
    return float(roc_auc_score(label, cross_val_predict(trees, both, label, cv=5, method="predict_proba")[:, 1]))


def test_pairwise_correlations_with_the_shipped_card(actg_table: PatientTable, model: FittedCohort):
    """The Monte Carlo error of a correlation here is below 1 / √100,000 = 0.003."""
    errors = correlation_errors(actg_table, model.synthesise(100_000, seed=1), model.modelled)
    assert len(errors) > 250
    assert max(errors.values()) <= 0.05, max(errors, key=lambda pair: errors[pair])


def test_outcomes_know_the_drug_within_an_arm(actg_table: PatientTable, model: FittedCohort):
    """Correlations of every outcome with the indicator of each of the four drugs, three of which are one arm."""
    drawn = model.synthesise(100_000, seed=1)
    for level in range(4):
        for name in ("cd420", "cd496", "cd820", "r", "days", "cens"):
            one, two = (
                np.ma.corrcoef(np.ma.masked_invalid(np.stack([table.columns["arms"] == level, table.columns[name]])))[0, 1] for table in (actg_table, drawn)
            )
            assert abs(one - two) <= 0.05, (level, name, one, two)


def test_what_becomes_of_a_table_that_nobody_describes(undescribed: tuple[PatientTable, FittedCohort]):
    table, model = undescribed
    assert model.card["companions"] == ["arms"]
    assert model.card["constants"] == ["zprior"]
    assert "pidnum" not in model.modelled
    assert {name: rule.removeprefix("follows from ") for name, rule in model.card["rules"].items()} == {
        "str2": "preanti",
        "strat": "preanti",
        "cd496.missing": "r",
    }
    drawn = model.synthesise(20_000, seed=1)
    np.testing.assert_array_equal(drawn.columns["r"], ~np.isnan(drawn.columns["cd496"]))
    np.testing.assert_array_equal(drawn.columns["treat"], drawn.columns["arms"] > 0)
    baseline = tuple(name for name in model.modelled if name not in ("days", "cens"))
    errors = correlation_errors(table, drawn, baseline)
    assert max(errors.values()) <= 0.05 + 4 / np.sqrt(20_000)


def test_classifiers_hardly_tell_them_apart(actg_table: PatientTable, model: FittedCohort, undescribed: tuple[PatientTable, FittedCohort]):
    """The standard error of an AUC of 0.5 here is √((2 n + 1) / (12 n²)) = 0.009."""
    assert auc(actg_table, model.synthesise(actg_table.n, seed=7), model.modelled) <= 0.60
    table, other = undescribed
    assert auc(table, other.synthesise(table.n, seed=7), other.modelled) <= 0.60


def test_rules_of_the_data_hold_in_every_row(model: FittedCohort):
    columns = model.synthesise(50_000, seed=2).columns
    np.testing.assert_array_equal(columns["r"], ~np.isnan(columns["cd496"]))
    np.testing.assert_array_equal(columns["str2"], columns["preanti"] > 8)
    np.testing.assert_array_equal(columns["strat"], np.select([columns["preanti"] <= 8, columns["preanti"] <= 366.5], [0, 1], 2))
    np.testing.assert_array_equal(columns["treat"], columns["arms"] > 0)
    assert (columns["zprior"] == 1).all()
    for name in ("age", "cd40", "cd420", "cd496", "cd80", "cd820", "days", "preanti"):
        seen = columns[name][~np.isnan(columns[name])]
        np.testing.assert_array_equal(seen, seen.round())


def test_no_value_of_a_single_patient_is_in_the_file(actg_table: PatientTable, model: FittedCohort, tmp_path):
    """Neither in the column's margin, its atoms and grid, nor in cuts of rules, breaks of hazards, knots of terms, corners of censoring."""
    model.save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert all(actg_table.n not in tensor.shape for tensor in tensors.values())
    assert model.form is not None
    assert model.outcomes is not None
    grids = {column.name: column.grid for column in model.form.columns if column.grid is not None}
    terms = [term for event in model.events.values() for term in event.terms]
    event, censoring = model.events["event"], model.outcomes.censoring["event"]
    for name, scale in (("age", 365.25), *((name, 1.0) for name in ("wtkg", "preanti", "cd40", "cd80", "cd420", "cd496", "cd820", "days"))):
        values, counts = np.unique(actg_table.columns[name][~np.isnan(actg_table.columns[name])], return_counts=True)
        alone = values[counts == 1]
        assert len(alone) >= 2
        stored = [x for key in (f"margins.{name}.table", f"margins.{name}.atoms") for x in tensors.get(key, np.empty(0)).tolist()]
        stored += [cut for column in model.columns if column.rule is not None and column.rule.source == name for cut in getattr(column.rule, "cuts", ())]
        stored += [number for term in terms if term.column == name and term.kind in ("bend", "above") for number in term.numbers[:3]]
        stored += [*event.breaks, *(t for t in censoring.times if t < max(censoring.times))] if name == "days" else []
        stored = [x / scale for x in stored] + [grids[name].low, grids[name].high]
        found = np.array(stored)[np.isin(np.array(stored), alone)]
        assert not len(found), (name, found)


def test_a_trial_runs_from_the_file(actg_table: PatientTable, model: FittedCohort, tmp_path):
    """The same trial from the data and from the model's file: the protocol's arms are the model's 1 and 0."""
    publish(model, tmp_path / "m.cohort", data=ROOT / "trials" / "data" / "actg175.csv", ids=None, log=tmp_path / "log.jsonl")
    text = (ROOT / "trials" / "actg175.yaml").read_text()
    source = next(line for line in text.splitlines() if line.strip().startswith("source:"))

    def trial(arms: str):
        changed = text.replace(source, f"  source: {{cohort: m.cohort{arms}}}").replace(
            "    cd4: {model: fitted}\n", "    cd4: {model: normal, mean: 350, sd: 100}\n"
        )
        lines = [line for line in changed.splitlines() if not line.strip().startswith(("cd4:", "e2:", "cd4_adjusted:"))]
        path = tmp_path / "protocol.yaml"
        path.write_text("\n".join(lines).replace(", cd4: {difference: $cd4}", "").replace(", cd4: 49.4", "").replace(", cd4: 0", "") + "\n")
        study = load(path)
        return compile_trial(study.cells()[-1], study.directory)

    record = simulate(trial(", arms: {combination: 1, zdv: 0}"), Block(0, 40))
    estimate = record.analyses["primary"].estimate[:, -1]
    assert abs(estimate.mean() - np.log(0.535)) < 0.03 + 4 * 0.095 / np.sqrt(40)
    with pytest.raises(DataError, match=r'the model has no arm "2"; allowed: 0, 1'):
        trial(", arms: {combination: 2, zdv: 0}")
