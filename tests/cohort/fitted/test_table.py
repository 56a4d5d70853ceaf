"""One model of a whole table: what becomes of every kind of column, and tables that are written in the data's own form."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from trialsim.cohort.fitted import FittedCohort, FittedRecipe, fit_table
from trialsim.cohort.population import EventColumns, ValueColumns
from trialsim.cohort.sampler import Sampler
from trialsim.data import Card, PatientTable, read_table
from trialsim.errors import DataError, NotSupportedError, UsageError
from trialsim.rng import Block, Streams

DAY = date(2026, 6, 1)
N = 1500
OUTCOMES = {"death": EventColumns(time="months", event="died"), "y": ValueColumns(columns={"baseline": "y0", "w8": "y8"})}
COLUMNS = {
    "patient": {"type": "text", "role": "id"},
    "age": {"type": "continuous", "unit": "years"},
    "old": {"type": "binary"},
    "kg": {"type": "continuous", "unit": "kg"},
    "pounds": {"type": "continuous"},
    "dose": {"type": "continuous"},
    "ever": {"type": "categorical", "levels": ["never", "ever"]},
    "site": {"type": "categorical", "levels": ["north", "south", "west"]},
    "lab": {"type": "continuous"},
    "lab_seen": {"type": "binary"},
    "country": {"type": "categorical"},
    "note": {"type": "text"},
    "y0": {"type": "continuous"},
    "arm": {"type": "categorical", "role": "arm"},
    "drug": {"type": "categorical"},
    "months": {"type": "continuous", "unit": "months", "role": "outcome"},
    "died": {"type": "binary", "role": "outcome"},
    "days": {"type": "continuous", "unit": "days", "role": "outcome"},
    "y8": {"type": "continuous", "role": "outcome"},
    "y8_seen": {"type": "binary", "role": "post_baseline"},
    "z8": {"type": "continuous", "role": "outcome"},
    "consent_simulate": {"type": "binary", "role": "consent"},
}


def made(n: int = N, seed: int = 1) -> dict[str, list[str]]:
    """Patients of a known law. The arm goes with age; a lab value is missing in old patients; y8 in those with a low y0."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 9, n).round()
    arm = rng.random(n) < 1 / (1 + np.exp(-(age - 60) / 9))
    kg, dose = rng.normal(75, 12, n).round(1), np.where(rng.random(n) < 0.4, 0.0, rng.gamma(2, 30, n).round(1) + 0.1)
    lab, y0 = rng.normal(5, 1, n) + 0.03 * (age - 60), rng.normal(20, 4, n).round(2)
    lab[rng.random(n) < 1 / (1 + np.exp(-(age - 65) / 4))] = np.nan
    time = 1 + rng.exponential(30 * np.exp(-0.03 * (age - 60) + 0.5 * arm))
    end = rng.uniform(10, 50, n)
    y8 = (y0 + 3 * arm + rng.normal(0, 2, n)).round(2)
    y8[rng.random(n) < np.where(y0 < 20, 0.4, 0.1)] = np.nan
    months = np.minimum(time, end).round(2)
    columns = {
        "patient": [f"P{i}" for i in range(n)],
        "age": age,
        "old": age > 65,
        "kg": kg,
        "pounds": (kg * 2.2046).round(2),
        "dose": dose,
        "ever": np.where(dose > 0, "ever", "never"),
        "site": np.array(["north", "south", "west"])[rng.choice(3, n, p=[0.5, 0.3, 0.2])],
        "lab": lab,
        "lab_seen": ~np.isnan(lab),
        "country": ["DE"] * n,
        "note": [f"free text {i}" for i in range(n)],
        "y0": y0,
        "arm": np.where(arm, "new", "old"),
        "drug": np.where(~arm, "none", np.where(rng.random(n) < 0.3, "a", "b")),
        "months": months,
        "died": time <= end,
        "days": (months * 30.4375).round(),
        "y8": y8,
        "y8_seen": ~np.isnan(y8),
        "z8": (20 + 0.5 * y8 + rng.normal(0, 2, n)).round(1),
        "consent_simulate": np.arange(n) >= 20,
    }
    return {name: [_cell(cell) for cell in column] for name, column in columns.items()}


def _cell(cell: object) -> str:
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    return "" if cell != cell else str(cell)


def write(folder: Path, columns: dict[str, list[str]], card: dict | None = None) -> PatientTable:
    path = folder / "d.csv"
    path.write_text(",".join(columns) + "\n" + "".join(",".join(row) + "\n" for row in zip(*columns.values(), strict=True)))
    given = {"id": "d", "title": "d", "source": "d", "licence": "CC0", "purposes": ["simulate"], "columns": COLUMNS}
    given |= {"consent": {"columns": {"simulate": "consent_simulate"}}} if card is None else card
    return read_table(path, Card.model_validate(given), shown="d.csv")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> PatientTable:
    return write(tmp_path_factory.mktemp("table"), made())


@pytest.fixture(scope="module")
def model(table: PatientTable) -> FittedCohort:
    return fit_table(table, outcomes=OUTCOMES, arm="arm", on=DAY)


@pytest.fixture(scope="module")
def synthetic(model: FittedCohort) -> PatientTable:
    return model.synthesise(20_000, seed=3)


def test_every_column_has_its_part(model: FittedCohort):
    assert isinstance(model, Sampler)
    assert model.names == ("age", "old", "kg", "pounds", "dose", "ever", "site", "lab", "lab_seen", "y0")
    assert model.card["companions"] == ["drug"]
    assert model.card["constants"] == ["country"]
    assert model.card["left_out"] == {"country": "it is constant", "note": "it is text", "consent_simulate": "its role is consent"}
    assert {name: rule.removeprefix("follows from ") for name, rule in model.card["rules"].items()} == {
        "old": "age",
        "pounds": "kg",
        "ever": "dose",
        "lab.missing": "lab_seen",
        "days": "months",
        "y8_seen": "y8.missing",
    }
    assert model.modelled == tuple(name for name in COLUMNS if name not in ("patient", "country", "note", "consent_simulate"))
    assert (model.roles.arm, model.roles.events, model.roles.values) == ("arm", {"death": ("months", "died")}, {"y8": "y0", "z8": None})


def test_rows_that_do_not_consent_are_not_read(model: FittedCohort, table: PatientTable, tmp_path):
    """20 patients deny: the model is the one of the others, whatever the 20 have in their cells."""
    assert model.card["n"] == N - 20
    assert model.card["permission"]["denied"] == 20
    changed = made()
    for name in ("age", "kg", "dose", "lab", "y0", "y8"):
        changed[name][:20] = ["990"] * 20
    changed["old"][:20] = ["1"] * 20
    again = fit_table(write(tmp_path, changed), outcomes=OUTCOMES, arm="arm", on=DAY)
    one, two = (each.synthesise(500, seed=1) for each in (model, again))
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], two.columns[name])


def test_a_table_is_in_the_datas_own_form(table: PatientTable, synthetic: PatientTable):
    assert synthetic.names == tuple(name for name in COLUMNS if name not in ("note", "consent_simulate"))
    assert all(synthetic.levels[name] == levels for name, levels in table.levels.items())
    assert synthetic.text["patient"][:2] == ("synthetic-1", "synthetic-2")
    assert (synthetic.columns["country"] == 0).all()
    assert synthetic.levels["country"] == ("DE",)
    for name, decimals in (("age", 0), ("kg", 1), ("dose", 1), ("y0", 2), ("months", 2), ("y8", 2)):
        column = synthetic.columns[name][~np.isnan(synthetic.columns[name])]
        np.testing.assert_array_equal(column, column.round(decimals))
    assert 40 < np.median(synthetic.columns["age"]) < 80  # years, not days


def test_rules_hold_in_every_row(synthetic: PatientTable):
    columns = synthetic.columns
    np.testing.assert_array_equal(columns["old"], columns["age"] > 65)
    np.testing.assert_array_equal(columns["ever"], columns["dose"] > 0)
    np.testing.assert_array_equal(columns["lab_seen"], ~np.isnan(columns["lab"]))
    np.testing.assert_array_equal(columns["y8_seen"], ~np.isnan(columns["y8"]))
    assert np.abs(columns["pounds"] - columns["kg"] * 2.2046).max() < 0.02
    assert np.abs(columns["days"] - columns["months"] * 30.4375).max() <= 0.5 + 0.005 * 30.4375 + 0.1  # the factor is estimated from rounded numbers
    np.testing.assert_array_equal(columns["drug"] == synthetic.levels["drug"].index("none"), columns["arm"] == 1)


def test_shares_means_and_missing_cells_are_those_of_the_data(table: PatientTable, synthetic: PatientTable):
    """Of the patients who permit it. 4 standard errors of the data's own share or mean."""
    real = table.take(np.arange(20, N))
    for name in real.columns:
        if name not in synthetic.columns:
            continue
        gone, drawn = np.isnan(real.columns[name]), np.isnan(synthetic.columns[name])
        assert abs(drawn.mean() - gone.mean()) < 4 * np.sqrt(max(gone.mean() * (1 - gone.mean()), 1e-9) / real.n), name
        if name in ("months", "days", "died"):
            continue
        x, y = real.columns[name][~gone], synthetic.columns[name][~drawn]
        assert abs(x.mean() - y.mean()) <= 4 * x.std() / np.sqrt(len(x)), name


def test_the_arm_keeps_what_it_was_chosen_by(table: PatientTable, synthetic: PatientTable):
    real, drawn = (np.corrcoef(t.columns["age"], t.columns["arm"])[0, 1] for t in (table, synthetic))
    assert real < -0.3
    assert abs(drawn - real) < 4 / np.sqrt(N)


def test_a_randomised_arm_is_drawn_on_its_own(table: PatientTable, model: FittedCohort):
    randomised = fit_table(table, outcomes=OUTCOMES, arm="arm", on=DAY, randomised=True)
    drawn = randomised.synthesise(20_000, seed=3)
    assert abs(np.corrcoef(drawn.columns["age"], drawn.columns["arm"])[0, 1]) < 4 / np.sqrt(20_000)
    assert abs(drawn.columns["arm"].mean() - table.columns["arm"][20:].mean()) < 4 * 0.5 / np.sqrt(20_000)
    assert randomised.id != model.id


def test_which_cells_are_missing_goes_with_other_columns(table: PatientTable, synthetic: PatientTable):
    """The lab value is missing in the old, y8 after a low y0."""
    for cell, other in (("lab", "age"), ("y8", "y0")):
        real, drawn = (np.corrcoef(np.isnan(t.columns[cell]), t.columns[other])[0, 1] for t in (table, synthetic))
        assert abs(real) > 0.2
        assert abs(drawn - real) < 4 / np.sqrt(N) + 0.02


def test_a_complete_table_has_no_missing_cell(model: FittedCohort):
    complete, usual = model.synthesise(2000, seed=3, complete=True), model.synthesise(2000, seed=3)
    assert not any(np.isnan(column).any() for column in complete.columns.values())
    seen = ~np.isnan(usual.columns["lab"])
    np.testing.assert_array_equal(usual.columns["lab"][seen], complete.columns["lab"][seen])


def test_the_first_patients_of_a_longer_table_are_the_same(model: FittedCohort):
    """Lanes of 64, blocks of 65,536: across both."""
    whole = model.synthesise(70_000, seed=9)
    for n in (1, 63, 65, 66_000):
        part = model.synthesise(n, seed=9)
        assert part.n == n
        for name, column in part.columns.items():
            np.testing.assert_array_equal(column, whole.columns[name][:n])
    assert not np.array_equal(model.synthesise(100, seed=10).columns["kg"], whole.columns["kg"][:100])


def test_a_file_keeps_everything(model: FittedCohort, tmp_path):
    model.save(tmp_path / "m")
    again = FittedCohort.load(tmp_path / "m")
    assert (again.card, again.modelled, again.roles, again.id) == (model.card, model.modelled, model.roles, model.id)
    one, two = (each.synthesise(300, seed=2) for each in (model, again))
    assert one.text == two.text
    assert one.meaning == two.meaning
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], two.columns[name])


def test_a_trial_draws_complete_baselines_only(model: FittedCohort):
    drawn = model.sample(Streams(1), Block(0, 4), 500)
    assert tuple(drawn.columns) == model.names
    assert not any(column.isnan().any() for column in drawn.columns.values())


def test_a_recipe_fits_the_same_kind_of_model_to_other_rows(model: FittedCohort, table: PatientTable):
    half = table.take(np.arange(20, N, 2))
    again = FittedRecipe(model).fit(half)
    assert again.card["options"] == model.card["options"]
    assert again.card["n"] == half.n
    assert again.id != model.id
    assert again.modelled == model.modelled
    alone = fit_table(half, outcomes=OUTCOMES, arm="arm", on=DAY)
    one, two = (each.synthesise(20_000, seed=4).columns for each in (again, alone))
    for name in ("age", "kg", "y0", "y8"):  # the start is elsewhere, the mode is the same
        assert abs(np.nanmean(one[name]) - np.nanmean(two[name])) < 0.02 * np.nanstd(one[name]) + 0.01
        assert abs(np.nanmean(one[name]) - np.nanmean(half.columns[name])) < 4 * np.nanstd(half.columns[name]) / np.sqrt(half.n)


def test_without_a_description_of_columns_identifiers_are_told_by_their_name(tmp_path):
    columns = {name: cells for name, cells in made(400).items() if name not in ("note", "patient", "consent_simulate")}
    columns = {"subject_id": [str(1000 + 3 * i) for i in range(400)], **columns}
    table = write(tmp_path, columns, {"columns": {}})
    model = fit_table(table, outcomes={"death": OUTCOMES["death"]}, arm="arm", on=DAY)
    assert "subject_id" not in model.modelled
    assert model.synthesise(3, seed=1).text["subject_id"] == ("synthetic-1", "synthetic-2", "synthetic-3")
    assert model.card["companions"] == ["drug"]
    assert "y8" in model.names  # nothing says that it comes after baseline


def test_without_a_description_what_follows_from_an_outcome_is_no_covariate(tmp_path):
    columns = {name: cells for name, cells in made(400).items() if name in ("age", "y0", "arm", "months", "died", "days", "y8", "y8_seen")}
    table = write(tmp_path, columns, {"columns": {}})
    model = fit_table(table, outcomes=OUTCOMES, arm="arm", on=DAY)
    assert model.names == ("age", "y0")
    drawn = model.synthesise(2000, seed=1).columns
    np.testing.assert_array_equal(drawn["y8_seen"], ~np.isnan(drawn["y8"]))
    assert "days" in drawn


def test_outcomes_without_an_arm(tmp_path):
    columns = {name: cells for name, cells in made(300).items() if name in ("age", "months", "died")}
    table = write(tmp_path, columns, {"columns": {name: COLUMNS[name] for name in columns}})
    model = fit_table(table, outcomes={"death": OUTCOMES["death"]}, on=DAY)
    assert model.roles.arm is None
    assert model.synthesise(50, seed=1).names == ("age", "months", "died")


def test_a_table_without_outcomes(tmp_path):
    columns = {name: cells for name, cells in made(300).items() if name in ("age", "kg")}
    model = fit_table(write(tmp_path, columns, {"columns": {}}), on=DAY)
    drawn = model.synthesise(5000, seed=1)
    assert abs(np.mean(drawn.columns["kg"]) - 75) < 4 * 12 / np.sqrt(300)


def _refused(table: PatientTable, **changes) -> list[str]:
    with pytest.raises(DataError) as caught:
        fit_table(table, **{"outcomes": OUTCOMES, "arm": "arm", "on": DAY, **changes})
    return [str(problem) for problem in caught.value.problems]


def test_what_is_refused(table: PatientTable, tmp_path):
    assert _refused(table, arm="arms") == ['d.csv  there is no column "arms"; did you mean "arm"?']
    assert _refused(table, arm="age")[0].startswith('d.csv  the arm column "age" has ')
    assert _refused(table, reference="neww") == ['d.csv  there is no arm "neww"; did you mean "new"?']
    twice = {**OUTCOMES, "z": ValueColumns(columns={"w8": "y8"})}
    assert _refused(table, outcomes=twice) == ['d.csv  the column "y8" is named by more than one outcome']
    (said,) = _refused(table, purpose="commercial")
    assert "does not permit the purpose" in said
    few = made(300)
    few["arm"][50:53] = ["rare"] * 3
    few["consent_simulate"] = ["1"] * 300
    assert _refused(write(tmp_path, few)) == ['d.csv  the arm "rare" has 3 patients; at least 5 are needed']
    assert _refused(table.take(np.arange(20, 60))) == ["d.csv  40 patients are too few to fit a cohort model to; at least 50 are needed"]
    with pytest.raises(NotSupportedError, match="vine"):
        fit_table(table, model="vine", outcomes=OUTCOMES, arm="arm", on=DAY)


def test_no_patients_are_no_table(model: FittedCohort):
    with pytest.raises(UsageError, match="at least 1 patient"):
        model.synthesise(0, seed=1)
