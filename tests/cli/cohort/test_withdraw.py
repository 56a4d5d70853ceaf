"""`trialsim cohort withdraw` from the outside, on real data."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.data import load_card, read_table
from trialsim.data.governance import audit, consent, manifest, persons
from trialsim.errors import DataError

TRIALS = Path(__file__).parents[3] / "trials" / "data"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """ACTG175, and a model said to be fitted to the first thousand of its patients, in another folder that the log names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    for name in ("actg175.csv", "actg175.card.yaml"):
        shutil.copy(TRIALS / name, tmp_path / name)
    table = read_table("actg175.csv", load_card("actg175.card.yaml"))
    model = tmp_path / "models" / "a.safetensors"
    model.parent.mkdir()
    model.write_text("a model")
    permission = consent.permitted(table, "simulate", on=date.today())
    manifest.write_manifest(
        model,
        ids=persons.ids_of(table)[:1000],
        purpose="simulate",
        data="actg175.csv",
        data_sha256=table.sha256,
        card_id=table.card.id,
        counts=permission.counts(),
        model_id="a",
    )
    audit.append(tmp_path / "cohort-audit.jsonl", "fit", {"model": str(model)})
    return tmp_path, table, model


def run(*words: object):
    return CliRunner().invoke(app, ["cohort", "withdraw", "--data", "actg175.csv", *map(str, words)])


def test_a_person_withdraws(place):
    folder, table, model = place
    first, last = table.text["pidnum"][0], table.text["pidnum"][-1]
    result = run(first, last)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "2 persons withdrawn from actg175.csv (list: actg175.csv.withdrawn.json)",
        "stale: models/a.safetensors (it has read 1 person of them)",
    ]
    with pytest.raises(DataError, match="1 of its patients withdrew"):
        manifest.require_fresh(model)
    rows = consent.permitted(table, "simulate", on=date.today()).rows
    assert rows.sum() == table.n - 2
    assert not rows[[0, -1]].any()
    assert audit.verify(folder / "cohort-audit.jsonl") == []
    assert first not in (folder / "cohort-audit.jsonl").read_text().split('"')


def test_again_and_json(place):
    _, table, model = place
    run(table.text["pidnum"][0])
    found = json.loads(run(table.text["pidnum"][0], "--json").stdout)
    assert (found["schema"], found["n_persons"], found["n_new"], found["n_models"]) == ("trialsim.cohort_withdrawal/1", 1, 0, 1)
    assert found["stale"] == [{"model": str(model), "n": 1}]
    assert run(table.text["pidnum"][0]).stdout.startswith(
        "0 persons withdrawn from actg175.csv (list: actg175.csv.withdrawn.json); 1 person had withdrawn before"
    )


def test_a_file_of_identifiers_with_unknown_ones(place):
    folder, table, model = place
    (folder / "ids.txt").write_text(f"\ufeff{table.text['pidnum'][0]}\n\nnobody\n", encoding="utf-8")
    result = run("--ids", "ids.txt", "x")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines() == [
        "identifier 1 of the command line  this person is neither in the data nor in a manifest",
        "ids.txt:3  this person is neither in the data nor in a manifest",
        "actg175.csv  2 of 3 identifiers are unknown; nothing was written",
    ]
    manifest.require_fresh(model)
    assert not (folder / "actg175.csv.withdrawn.json").exists()
    assert len(audit.entries(folder / "cohort-audit.jsonl")) == 1


def test_models_given(place, tmp_path):
    _, table, model = place
    (tmp_path / "empty").mkdir()
    result = run(table.text["pidnum"][0], "--models", "empty", "--audit", "other.jsonl")
    assert result.stdout.splitlines()[-1] == "no model became stale (0 looked at)"
    assert audit.entries(Path("other.jsonl"))[0].action == "withdraw"
    assert "stale: models/a.safetensors" in run(table.text["pidnum"][0], "--models", model).stdout


def test_a_model_that_the_log_names_and_that_is_gone(place):
    _, table, model = place
    shutil.rmtree(model.parent)
    assert "not found: models/a.safetensors (named by the audit log; give its new place with --models)" in run(table.text["pidnum"][0]).stdout


@pytest.mark.parametrize(
    "words, code, said",
    [
        ((), 2, "give an identifier, or a file of them with --ids"),
        ((" ",), 2, "give an identifier, or a file of them with --ids"),
        (("x", "--ids", "none.txt"), 3, "none.txt  cannot be read"),
        (("x", "--card", "none.yaml"), 3, "none.yaml  there is no such file"),
        (("x", "--models", "none"), 3, "none  there is no such folder or model"),
    ],
)
def test_bad_calls(place, words, code, said):
    result = run(*words)
    assert result.exit_code == code
    assert result.stderr.startswith(said)
