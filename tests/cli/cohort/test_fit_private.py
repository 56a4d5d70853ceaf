"""`trialsim cohort fit --epsilon` from the outside: the ledger in the model, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trialsim_cli.cohort.checked import model_and_data, recipe_of, run_check
from trialsim_cli.main import app
from typer.testing import CliRunner
from witness.samplers import trial

from trialsim.cohort.fitted import FittedCohort
from trialsim.cohort.fitted.private import PrivateRecipe
from trialsim.cohort.fitted.recipe import FittedRecipe

CARD = """
id: made
title: made up
source: tests
licence: none needed
purposes: [simulate]
columns:
  x: {type: continuous}
  sex: {type: binary}
  arm: {type: binary, role: arm}
  time: {type: continuous, role: outcome}
  event: {type: binary, role: outcome}
"""


def run(*words: object):
    return CliRunner().invoke(app, ["cohort", "fit", *map(str, words)])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    table, names = trial(800, seed=1), ("x", "sex", "arm", "time", "event")
    rows = np.stack([table.columns[name] for name in names], axis=1)
    np.savetxt("data.csv", rows, delimiter=",", header=",".join(names), comments="", fmt="%.4f")
    Path("card.yaml").write_text(CARD)
    Path("bounds.yaml").write_text("x: [-4, 4]\ntime: [0, 80]\n")
    return tmp_path


def test_a_private_model_holds_its_ledger(place: Path):
    asked = ("--outcome", "time=time,event=event,arm=arm", "--epsilon", 3, "--delta", 1e-6, "--bounds", "bounds.yaml")
    result = run("data.csv", "--card", "card.yaml", "--out", "m.safetensors", *asked)
    assert result.exit_code == 0, result.output
    assert "differential privacy: ε = 3 at δ = 1e-06 in 3 releases (the ledger is in the card)" in result.output
    privacy = FittedCohort.load("m.safetensors").card["privacy"]
    assert privacy["epsilon"] == pytest.approx(3)
    assert "cryptographic" in privacy["noise"]
    assert [row["purpose"] for row in privacy["releases"]] == ["counts of cells and arms", "counts of arm, time and event", "sums of products of scores"]
    json.dumps(privacy, allow_nan=False)
    shown = Path("m.safetensors.card.md").read_text()
    assert "### Differential privacy" in shown
    assert "| ε | 3 |" in shown
    assert "| δ | 1e-06 |" in shown
    assert shown.count("| sums of products of scores |") == 1


def test_the_check_refits_a_private_model_with_its_privacy(place: Path, monkeypatch: pytest.MonkeyPatch):
    asked = ("--outcome", "time=time,event=event,arm=arm", "--epsilon", 3, "--delta", 1e-6, "--bounds", "bounds.yaml")
    assert run("data.csv", "--card", "card.yaml", "--out", "m.safetensors", *asked).exit_code == 0
    checked = model_and_data(Path("m.safetensors"), Path("data.csv"), Path("card.yaml"), on=None)
    recipe = recipe_of(checked.model)
    again = recipe.fit(checked.table.take(np.arange(0, 800, 2)))
    assert again.card["privacy"]["asked"] == {"epsilon": 3, "delta": 1e-6}
    assert again.card["privacy"]["epsilon"] == pytest.approx(3)
    plain = recipe_of(replace(checked.model, card={key: value for key, value in checked.model.card.items() if key != "privacy"}))
    assert isinstance(plain, FittedRecipe)
    seen: list[object] = []
    monkeypatch.setattr("trialsim.evaluation.cohort_check.check_cohort", lambda *args, recipe, **more: seen.append(recipe))
    run_check(checked, thresholds=None, target=None, refits=4, workers=1, seed=1, n_release=None)
    assert [type(each) for each in seen] == [PrivateRecipe]


def test_privacy_by_halves_is_refused_and_nothing_is_left(place: Path):
    result = run("data.csv", "--card", "card.yaml", "--out", "m.safetensors", "--epsilon", 1)
    assert result.exit_code == 2
    Path("bounds.yaml").write_text("x: [-4, 4]\n")
    result = run(
        "data.csv",
        "--card",
        "card.yaml",
        "--out",
        "m.safetensors",
        "--outcome",
        "time=time,event=event,arm=arm",
        "--epsilon",
        1,
        "--delta",
        1e-6,
        "--bounds",
        "bounds.yaml",
    )
    assert result.exit_code == 3
    assert not Path("m.safetensors").exists()
