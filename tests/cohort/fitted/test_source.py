"""From a file and its card to a model: permission first, a cache by content, and errors that name their place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import trialsim.cohort.fitted.source as source_module
from trialsim.cohort import DataSource
from trialsim.cohort.fitted import FittedCohort, fit_source
from trialsim.errors import DataError
from trialsim.rng import Block, Streams

CARD = """\
id: small
title: A small made-up data set
source: this test
licence: CC0
purposes: [simulate]
columns:
  age: {type: continuous, unit: years}
  sex: {type: categorical, levels: [f, m]}
  score: {type: integer}
  arm: {type: categorical, role: arm}
  months: {type: continuous, unit: months, role: outcome}
  died: {type: binary, role: outcome}
  y0: {type: continuous}
  y1: {type: continuous, role: outcome}
"""
SOURCE = {
    "data": "d.csv",
    "card": "d.yaml",
    "arm": "arm",
    "arms": {"new": "B", "old": "A"},
    "outcomes": {"death": {"time": "months", "event": "died"}, "y": {"columns": {"baseline": "y0", "w8": "y1"}}},
}


def _data(n: int = 400, missing: float = 0.0) -> list[list[str]]:
    rng = np.random.default_rng(1)
    age, sex, score = rng.normal(60, 8, n), rng.integers(0, 2, n), rng.integers(1, 5, n)
    arm, y0 = rng.integers(0, 3, n), rng.normal(10, 2, n) + 0.05 * age
    time = rng.exponential(24 * np.exp(-0.03 * (age - 60) + 0.6 * (arm == 1)))
    censoring = rng.uniform(6, 48, n)
    y1 = y0 + 1.5 * (arm == 1) + rng.normal(0, 1.5, n)
    rows = []
    for i in range(n):
        cells = [
            f"{age[i]:.2f}",
            "fm"[sex[i]],
            str(score[i]),
            "ABC"[arm[i]],
            f"{min(time[i], censoring[i]):.3f}",
            str(int(time[i] <= censoring[i])),
            f"{y0[i]:.3f}",
            f"{y1[i]:.3f}",
        ]
        rows.append(["" if place != 3 and rng.random() < missing else cell for place, cell in enumerate(cells)])
    return rows


def _write(folder: Path, rows: list[list[str]], card: str = CARD) -> None:
    (folder / "d.csv").write_text("age,sex,score,arm,months,died,y0,y1\n" + "\n".join(map(",".join, rows)) + "\n")
    (folder / "d.yaml").write_text(card)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRIALSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _source(**changes) -> DataSource:
    return DataSource.model_validate({**SOURCE, **changes})


def test_a_fit_is_cached_by_content(tmp_path, cache, monkeypatch):
    rows = _data()
    _write(tmp_path, rows)
    first = fit_source(_source(), tmp_path)
    entries = list((cache / "cohorts").iterdir())
    assert len(entries) == 1
    with monkeypatch.context() as patched:
        patched.setattr(source_module, "fit_cohort", lambda *_: pytest.fail("fitted again"))
        again = fit_source(_source(), tmp_path)
    one, two = (model.sample(Streams(1), Block(0, 2), 30).columns for model in (first, again))
    assert all(torch.equal(one[name], two[name]) for name in one)

    rows[0][0] = "61.00"
    _write(tmp_path, rows)
    fit_source(_source(), tmp_path)
    assert len(list((cache / "cohorts").iterdir())) == 2
    entries[0].write_bytes(b"broken")  # an entry that cannot be read is fitted anew
    _write(tmp_path, _data())
    fit_source(_source(), tmp_path)
    assert FittedCohort.load(entries[0]).names == first.names


def test_the_fit_is_the_same_whatever_the_random_state(tmp_path, cache):
    _write(tmp_path, _data())
    torch.manual_seed(1)
    first = fit_source(_source(), tmp_path)
    for entry in (cache / "cohorts").iterdir():
        entry.unlink()
    torch.manual_seed(2)
    second = fit_source(_source(), tmp_path)
    assert torch.equal(first.dependence.tensors()["loadings"], second.dependence.tensors()["loadings"])
    assert first.events["death"].weights == second.events["death"].weights
    assert first.card == second.card


def test_arms_units_and_rows(tmp_path, cache):
    _write(tmp_path, _data())
    model = fit_source(_source(), tmp_path)
    assert model.card["n"] == sum(row[3] in "AB" for row in _data())
    assert model.units == {"age": "time", "sex": "", "score": "", "y0": ""}
    assert model.levels == {"sex": ("f", "m")}
    death = model.events["death"]
    assert death.reference == "old"  # values that are not numbers: the arm named last
    assert abs(death.arm_log_hr["new"] + 0.6) < 3 * death.log_hr_sd["new"]
    assert 30 * 6 < death.breaks[-1] < 31 * 48  # months became days
    assert abs(model.values["y", "w8"].arm_difference["new"] - 1.5) < 3 * model.values["y", "w8"].difference_sd["new"]
    sampled = model.sample(Streams(2), Block(0, 20), 500).columns
    assert abs(sampled["age"].mean() / 365.25 - 60) < 1.5
    assert set(sampled["score"].unique().tolist()) == {1, 2, 3, 4}


def test_missing_cells_cost_precision_and_not_the_fit(tmp_path, cache):
    _write(tmp_path, _data(1500, missing=0.2))
    model = fit_source(_source(), tmp_path)
    assert model.card["missing"]["age"] > 100
    sampled = model.sample(Streams(3), Block(0, 20), 500).columns
    assert not any(column.isnan().any() for column in sampled.values())
    y0, age = sampled["y0"].flatten(), sampled["age"].flatten()
    # y0 = noise of SD 2 + 0.05 age of SD 8: correlation 0.4 / sqrt(4.16) = 0.196
    assert abs(np.corrcoef(y0, age)[0, 1] - 0.196) < 4 / np.sqrt(1500 * 0.64 * 2 / 3)
    death = model.events["death"]
    assert abs(death.arm_log_hr["new"] + 0.6) < 3 * death.log_hr_sd["new"]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"card": None}, "d.csv  has no card (population.source.card), so no model is fitted to it"),
        ({"data": "e.csv"}, "e.csv  there is no such file"),
        ({"card": "e.yaml"}, "e.yaml  there is no such file"),
        ({"arm": "arms"}, 'd.csv  there is no column "arms"; did you mean "arm"?'),
        ({"arms": {"new": "D"}}, 'd.csv  no row has arm = D (arm "new")'),
        ({"outcomes": {"death": {"time": "month", "event": "died"}}}, 'd.csv  there is no column "month"; did you mean "months"?'),
        ({"outcomes": {"death": {"time": "months", "event": "score"}}}, 'd.csv  the column "score" (outcome death) holds 2; an event is 0 or 1'),
        ({"outcomes": {"death": {"time": "sex", "event": "died"}}}, 'd.csv:2  "f" in the column "sex" is not a number'),
        (
            {"outcomes": {"y": {"columns": {"baseline": "y1", "w8": "y1"}}}},
            'd.csv  the baseline of y, "y1", is not a covariate: it is an outcome or the arm; allowed: age, score, sex, y0',
        ),
        (
            {"outcomes": {"y": {"columns": {"baseline": "died", "w8": "y1"}}}},
            'd.csv  the baseline of y, "died", is not a covariate: its role is outcome and it is a category that no outcome names',
        ),
    ],
)
def test_a_source_that_does_not_fit_the_data(tmp_path, cache, changes, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = _data(120)
    rows[0][2] = "2"
    _write(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        fit_source(_source(**changes), tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [said]
    assert not cache.exists()


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("licence: CC0\n", "", 'd.yaml  licence: the card "small" has no licence, so no model is fitted to its data'),
        ("[simulate]", "[train]", 'd.yaml  purposes: the card "small" does not permit the purpose "simulate" (permitted: train)'),
    ],
)
def test_no_licence_or_purpose_no_fit(tmp_path, cache, before, after, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, _data(120), CARD.replace(before, after))
    with pytest.raises(DataError) as caught:
        fit_source(_source(), tmp_path)
    assert str(caught.value) == said
    (tmp_path / "d.csv").unlink()  # refused before the data are looked at
    with pytest.raises(DataError, match=said.split("  ")[1].split(":")[0]):
        fit_source(_source(), tmp_path)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda rows: rows[5].__setitem__(0, "old"), 'd.csv:7  "old" in the column "age" is not a number'),
        (lambda rows: rows[5].__setitem__(4, "-3"), 'd.csv  the column "months" (outcome death) has a negative time (-91.3125 days)'),
        (lambda rows: rows[5].__setitem__(4, "1e308"), 'd.csv  the column "months" (outcome death) has a time beyond floating point'),
        (lambda rows: [row.__setitem__(5, "0") for row in rows], 'd.csv  the column "died" (outcome death) has no events'),
        (lambda rows: rows.__delitem__(slice(40, None)), "patients are too few to fit a cohort model to; at least 50 are needed"),
    ],
)
def test_data_that_cannot_be_fitted(tmp_path, cache, change, said):
    rows = _data(120)
    for row in rows[:6]:
        row[3] = "A"
    change(rows)
    _write(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        fit_source(_source(), tmp_path)
    assert said in str(caught.value)


def test_files_are_named_as_they_can_be_opened_from_here(tmp_path, cache, monkeypatch):
    study, here = tmp_path / "study", tmp_path / "here"
    study.mkdir()
    here.mkdir()
    rows = _data(120)
    rows[5][0] = "old"
    _write(study, rows)
    for folder, name in ((tmp_path, "study/d.csv"), (study, "d.csv"), (here, "../study/d.csv")):
        monkeypatch.chdir(folder)
        with pytest.raises(DataError, match=f'^{name}:7  "old" in the column "age" is not a number$'):
            fit_source(_source(), study)
    (study / "d.yaml").unlink()
    with pytest.raises(DataError, match=r"^\.\./study/d\.yaml  there is no such file$"):
        fit_source(_source(), study)


def test_another_kind_of_model_is_fitted_likewise(tmp_path, cache):
    _write(tmp_path, _data(300))
    model = fit_source(_source(model="latent_class"), tmp_path)
    assert model.dependence.kind == "latent_class"
    sampled = model.sample(Streams(2), Block(0, 20), 500).columns
    assert abs(sampled["age"].mean() / 365.25 - 60) < 1.5


def test_without_arms_there_is_one(tmp_path, cache):
    _write(tmp_path, _data(300))
    model = fit_source(DataSource.model_validate({"data": "d.csv", "card": "d.yaml", "outcomes": {"death": SOURCE["outcomes"]["death"]}}), tmp_path)
    assert model.events["death"].arm_log_hr == {"all": 0.0}
    assert model.events["death"].reference == "all"


def test_the_cache_need_not_be_writable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRIALSIM_CACHE", str(tmp_path / "file"))
    _write(tmp_path, _data(120))
    assert fit_source(_source(), tmp_path).card["n"] > 50
    assert os.environ["TRIALSIM_CACHE"]
