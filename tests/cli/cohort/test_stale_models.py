"""A fitted model whose patients withdraw, from the command line: found wherever it lies, and used by nothing any more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner, Result

CARD = """\
id: made
title: Made-up patients
source: this test
licence: none needed
purposes: [train, simulate]
columns:
  patient: {type: text, role: id}
  age: {type: continuous, unit: years}
  score: {type: continuous}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def place(tmp_path, monkeypatch, small_protocol_text) -> Path:
    """Data in one folder, to be worked from there; models go to another."""
    for name in ("TRIALSIM_AUDIT", "TRIALSIM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(5)
    age = rng.normal(60, 9, 200)
    rows = [f"P{n:03d},{age[n]:.1f},{0.1 * age[n] + rng.normal():.2f}" for n in range(200)]
    Path("made.csv").write_text("patient,age,score\n" + "\n".join(rows) + "\n")
    Path("made.card.yaml").write_text(CARD)
    Path("trial.yaml").write_text(small_protocol_text.replace("{planned_enrollment: 60}", "{planned_enrollment: 60, source: {cohort: ../models/a.cohort}}"))
    return folder


def fit(*words: str) -> Result:
    result = run("cohort", "fit", "made.csv", "--out", "../models/a.cohort", *words)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.parametrize("log", [[], ["--audit", "../elsewhere.jsonl"]], ids=["default log", "a log of its own"])
def test_a_model_in_another_folder_is_found(place, log):
    fit(*log)
    result = run("cohort", "withdraw", "--data", "made.csv", "P003")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1:] == ["stale: ../models/a.cohort (it has read 1 person of them)"]
    assert run("cohort", "audit", "--verify").exit_code == 0
    refused = run("cohort", "sample", "../models/a.cohort", "--n", "5", "--out", "s.csv")
    assert refused.exit_code == 3
    assert "is stale: 1 of its patients withdrew" in refused.stderr


def test_a_trial_of_a_fitted_model_runs_until_it_is_stale(place):
    fit()
    command = ("run", "trial.yaml", "--replicates", "20", "--workers", "1", "--json")
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    assert run("cohort", "withdraw", "--data", "made.csv", "P003").exit_code == 0
    refused = run(*command)
    assert refused.exit_code == 3
    assert "is stale: 1 of its patients withdrew" in refused.stderr
    Path("../models/a.cohort.manifest.json").unlink()
    refused = run(*command)
    assert refused.exit_code == 3
    assert "has no manifest" in refused.stderr


def test_a_model_for_another_purpose_simulates_no_trial(place):
    fit("--purpose", "train")
    refused = run("run", "trial.yaml", "--replicates", "20", "--workers", "1")
    assert refused.exit_code == 3
    assert 'was fitted for the purpose "train"' in refused.stderr
