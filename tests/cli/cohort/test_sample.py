"""`trialsim cohort sample` from the outside: labelled tables, whole or not at all, and never from a stale model."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.cohort.fitted import FittedCohort
from trialsim.data import load_card, read_table
from trialsim.data.governance.audit import entries
from trialsim.data.governance.manifest import manifest_path, mark_stale


def run(*words: object):
    return CliRunner().invoke(app, ["cohort", "sample", *map(str, words)])


@pytest.fixture
def model(fitted_files, tmp_path, monkeypatch):
    """A copy of the model with its manifest, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    for file in (fitted_files.model, manifest_path(fitted_files.model)):
        shutil.copy(file, tmp_path / file.name)
    return Path("made.cohort")


def test_every_row_is_labelled_and_reads_like_the_data(model, fitted_files):
    assert run(model, "--n", 1000, "--seed", 1, "--out", "s.csv").exit_code == 0
    real = read_table(fitted_files.data, load_card(fitted_files.card))
    drawn = read_table("s.csv", load_card(fitted_files.card))
    assert drawn.names == (*real.names, "synthetic_model")
    label = FittedCohort.load(model).id
    assert drawn.levels["synthetic_model"] == (label,)
    assert (drawn.columns["synthetic_model"] == 0).all()
    assert drawn.n == 1000
    assert drawn.text["patient"][0] == "synthetic-1"
    assert drawn.levels["site"] == real.levels["site"]
    assert abs(np.isnan(drawn.columns["x"]).mean() - np.isnan(real.columns["x"]).mean()) < 4 * np.sqrt(0.1 * 0.9 * (1 / 500 + 1 / 1000))


def test_csv_and_parquet_are_the_same_table(model):
    for out in ("s.csv", "s.parquet"):
        assert run(model, "--n", 200, "--seed", 4, "--out", out).exit_code == 0
    csv, parquet = read_table("s.csv"), read_table("s.parquet")
    assert csv.names == parquet.names
    for name in csv.columns:
        np.testing.assert_array_equal(csv.columns[name], parquet.columns[name])
    stored = pyarrow.parquet.read_table("s.parquet")
    assert str(stored.schema.field("sex").type) == "int64"
    assert str(stored.schema.field("x").type) == "double"
    assert stored.schema.metadata[b"synthetic"] == b"true"


def test_the_same_seed_gives_the_same_bytes(model):
    contents = []
    for seed in (1, 1, 2):
        assert run(model, "--n", 50, "--seed", seed, "--out", "s.csv").exit_code == 0  # a synthetic table may be replaced
        contents.append(Path("s.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_json_and_the_log(model):
    result = run(model, "--n", 20, "--seed", 7, "--out", "s.csv", "--complete", "--json", "--audit", "log.jsonl")
    said = json.loads(result.stdout)
    assert (said["schema"], said["n"], said["seed"], said["complete"], said["missing"]) == ("trialsim.cohort_sample/1", 20, 7, True, {})
    assert said["columns"][-1] == "synthetic_model"
    (entry,) = entries(Path("log.jsonl"))
    assert (entry.action, entry.details["model_id"], entry.details["sha256"]) == ("sample", said["model_id"], said["sha256"])


def test_a_stale_model_is_refused(model):
    mark_stale(manifest_path(model), ["P0001"], on=date(2026, 6, 1), reason="withdrawal")
    result = run(model, "--n", 10, "--out", "s.csv")
    assert result.exit_code == 3
    assert result.stderr == "made.cohort  the model made.cohort is stale: 1 of its patients withdrew on 2026-06-01; fit it anew without them\n"
    assert not Path("s.csv").exists()


def test_a_model_without_its_manifest_is_refused(model):
    manifest_path(model).unlink()
    result = run(model, "--n", 10, "--out", "s.csv")
    assert result.exit_code == 3
    assert "has no manifest" in result.stderr


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--n", 0, "--out", "s.csv"), 2, "--n 0: at least 1 patient must be drawn"),
        (("--n", 5, "--out", "real.csv"), 2, "real.csv is there already and is no synthetic table; give another --out, or --replace"),
        (("--n", 5, "--out", "/proc/none/s.csv"), 2, "/proc/none/s.csv cannot be written: No such file or directory"),
        (("--n", 5, "--out", "."), 2, ". is a folder"),
    ],
)
def test_bad_input_is_one_line(model, words, code, said):
    Path("real.csv").write_text("a,b\n1,2\n")
    result = run(model, *words)
    assert (result.exit_code, result.stderr) == (code, said + "\n")
    assert Path("real.csv").read_text() == "a,b\n1,2\n"


def test_what_is_no_model(model):
    Path("text").write_text("not a model")
    result = run("text", "--n", 5, "--out", "s.csv")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1)
    assert "is not a fitted cohort" in result.stderr
    assert run("none", "--n", 5, "--out", "s.csv").stderr == "none  there is no such file\n"


@pytest.mark.parametrize("name", ["made.cohort", "made.cohort.manifest.json", "cohort-audit.jsonl"])
def test_what_the_command_needs_is_never_replaced(model, name):
    before = Path(name).read_bytes() if Path(name).exists() else None
    result = run(model, "--n", 5, "--out", name, "--replace")
    assert (result.exit_code, result.stderr) == (2, f"{name} is a file that this command itself needs; give another --out\n")
    assert (Path(name).read_bytes() if Path(name).exists() else None) == before
