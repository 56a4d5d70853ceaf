"""Target populations in their three forms, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from witness.samplers import MODELLED, ROLES, Truth, trial

from trialsim.cohort.fairness import load_target
from trialsim.cohort.fidelity import SideBySide, side_by_side
from trialsim.errors import DataError


@pytest.fixture(scope="module")
def pair() -> SideBySide:
    return side_by_side(trial(300, seed=1), Truth().synthesise(300, seed=2), modelled=MODELLED, roles=ROLES)[0]


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


YAML = """\
name: Everybody with the disease
n: 5000
columns:
  age: {mean: 55, sd: 9}
  sex: {proportions: {0: 0.5, 1: 0.5}}
  site: {proportions: {north: 0.2}}
goals:
  sex: {1: 0.45}
"""
CSV = """\
column,level,mean,sd,proportion,goal
age,,55,9,,
sex,0,,,0.5,
sex,1,,,0.5,0.45
site,north,,,0.2,
"""


def test_yaml_and_csv_say_the_same(pair, tmp_path):
    one, two = load_target(_write(tmp_path, "a.yaml", YAML), pair), load_target(_write(tmp_path, "a.csv", CSV), pair)
    assert (one.name, one.n) == ("Everybody with the disease", 5000)
    assert (two.name, two.n) == ("a", None)
    for target in (one, two):
        assert (target.numbers["age"].mean, target.numbers["age"].sd) == (55.0, 9.0)
        assert target.shares == {"sex": {"0": 0.5, "1": 0.5}, "site": {"north": 0.2}}
        assert target.goals == {"sex": {"1": 0.45}}


def test_shares_are_the_goals_where_none_are_given(pair, tmp_path):
    target = load_target(_write(tmp_path, "t.yaml", "columns: {sex: {proportions: {1: 0.3}}}"), pair)
    assert target.goals == {"sex": {"1": 0.3}}


def test_patients_give_their_margins(pair, tmp_path):
    rows = ["age,sex,site,other"] + [f"{40 + i},{i % 2},{('north', 'west')[i % 4 == 0]},9" for i in range(40)] + ["NA,,,"]
    target = load_target(_write(tmp_path, "rows.csv", "\n".join(rows) + "\n"), pair)
    ages = np.arange(40, 80)
    assert target.numbers["age"].mean == pytest.approx(ages.mean())
    assert target.numbers["age"].sd == pytest.approx(ages.std(ddof=1))
    assert target.shares["sex"] == {"0": 0.5, "1": 0.5}
    assert target.shares["site"] == {"north": 0.75, "south": 0.0, "west": 0.25}
    assert target.n == 41
    assert "other" not in target.numbers


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("t.yaml", "columns:\n  agee: {mean: 3}\n", 't.yaml:2:3  columns.agee: "agee" is not a column of the model; did you mean "age"?'),
        ("t.yaml", "columns:\n  value: {mean: 3}\n", 't.yaml:2:3  columns.value: "value" is an outcome; a target population is of baselines'),
        ("t.yaml", "columns:\n  age: {mean: 3, proportions: {1: 1}}\n", "t.yaml:2:3  columns.age: is a mean (with sd) or proportions"),
        ("t.yaml", "columns:\n  age: {mean: .inf}\n", "t.yaml:2:3  columns.age: the mean and SD of age are finite numbers, not inf"),
        ("t.yaml", "columns:\n  age: {mean: 3, sd: 0}\n", "t.yaml:2:3  columns.age: the SD of age is above 0, not 0"),
        ("t.yaml", "columns:\n  age: {mean: 3, sdd: 1}\n", 't.yaml:2:18  columns.age.sdd: unknown key; did you mean "sd"?'),
        (
            "t.yaml",
            "columns:\n  site: {mean: 1}\n",
            't.yaml:2:3  columns.site: "site" is a category: give proportions of its levels (north, south, west), not a mean',
        ),
        (
            "t.yaml",
            "columns:\n  site: {proportions: {north: 0.9, west: 0.2}}\n",
            "t.yaml:2:3  columns.site: the proportions of site sum to 1.1, which is above 1",
        ),
        ("t.yaml", "columns:\n  site: {proportions: {east: 0.9}}\n", 't.yaml:2:10  columns.site.proportions: "east" is not a level of "site"'),
        ("t.yaml", "columns:\n  sex: {proportions: {1: 1.2}}\n", "t.yaml:2:9  columns.sex.proportions: a share lies between 0 and 1; sex = 1 has 1.2"),
        ("t.yaml", "{}\n", "t.yaml  columns.: names no column of the model"),
        ("t.csv", "column,mean\nage,old\n", "t.csv:2  the mean and SD of age are finite numbers, not old"),
        ("t.csv", "column,mean,median\nage,5,5\n", 't.csv:1  unknown column "median"; did you mean "mean"?'),
        ("t.csv", "column,mean\nage,5\n\nage,6\n", 't.csv:4  "age" is given twice'),
        ("t.csv", "column,mean\nage,\n", 't.csv:2  the line of "age" has no mean, proportion or goal'),
        ("t.csv", "a,b\n1,2\n", "t.csv  names no column of the model"),
        ("t.csv", "site\nelsewhere\n", 't.csv  no row of "site" has one of its levels (north, south, west)'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(pair, tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        load_target(_write(tmp_path, name, text), pair)
    assert message in [str(problem) for problem in error.value.problems]


def test_everything_wrong_is_found_at_once(pair, tmp_path):
    with pytest.raises(DataError) as error:
        load_target(_write(tmp_path, "t.csv", "column,level,mean,proportion\nagee,,1,\nsex,7,,0.5\nsex,1,,-1\n"), pair)
    assert [problem.line for problem in error.value.problems] == [2, 3, 4]


def test_no_file(pair, tmp_path):
    for name in ("no.yaml", "no.csv", "no.parquet"):
        with pytest.raises(DataError, match="there is no such file"):
            load_target(tmp_path / name, pair)
