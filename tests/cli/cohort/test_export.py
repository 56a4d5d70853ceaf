"""`trialsim cohort export`: what may be released, what is written with it, and what is refused."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from datetime import date
from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.data import load_card, read_table
from trialsim.data.governance import audit
from trialsim.data.governance.manifest import manifest_path, mark_stale


def _run(*arguments: object):
    return CliRunner().invoke(app, ["cohort", "export", *map(str, arguments)])


@pytest.fixture(scope="module")
def report(checked):
    """A report as `check` writes it, as of a gate that passed: a true check with so few refits would not settle it."""
    found = deepcopy(checked[0])
    found["verdict"], found["disclosure"]["verdict"], found["reasons"] = "pass", "pass", ["All thresholds are met."]
    found["disclosure"]["membership_auc"].update(estimate=0.51, ci_low=0.49, ci_high=0.54)
    return found


@pytest.fixture
def place(fitted_files, tmp_path):
    """The model and the data in a folder of their own, with its audit log."""
    for file in (fitted_files.model, manifest_path(fitted_files.model), fitted_files.data, fitted_files.card):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path


def _arguments(place: Path, report: dict, *, n: int = 100) -> list[object]:
    check = place / "report.json"
    check.write_text(json.dumps(report))
    return [place / "made.cohort", "--data", place / "made.csv", "--n", n, "--seed", 3, "--check", check]


def test_a_release_is_labelled_described_and_logged(place, report):
    out = place / "release.csv"
    result = _run(*_arguments(place, report), "--out", out, "--json")
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    card = load_card(place / "release.card.yaml")
    table = read_table(out, card)
    assert table.n == 100
    assert set(table.text["synthetic"]) == {"true"}
    assert set(table.text["synthetic_model"]) == {report["model"]["id"]}
    assert (card.licence, card.purposes) == ("none needed", ("train", "simulate"))
    assert card.ingested["verdict"] == "pass"
    assert card.ingested["thresholds"]["classifier_auc"] == 0.6
    assert card.ingested["sha256"] == done["sha256"] == table.sha256
    assert audit.verify(place / "cohort-audit.jsonl") == []
    (entry,) = audit.entries(place / "cohort-audit.jsonl")
    assert (entry.action, entry.details["n"], entry.details["sha256"]) == ("export", 100, table.sha256)


def test_the_same_seed_releases_the_same_patients_and_parquet_too(place, report):
    arguments = _arguments(place, report)
    for name in ("a.csv", "b.csv", "c.parquet"):
        assert _run(*arguments, "--out", place / name).exit_code == 0
    assert (place / "a.csv").read_bytes() == (place / "b.csv").read_bytes()
    one, two = (read_table(place / name, load_card(place / f"{name[0]}.card.yaml")) for name in ("a.csv", "c.parquet"))
    assert one.columns["age"].tolist() == two.columns["age"].tolist()
    assert set(two.text["synthetic"]) == {"true"}


def _changed(report: dict, **changes: object) -> dict:
    """The report with some values changed, by dotted path."""
    made = deepcopy(report)
    for path, value in changes.items():
        *folders, last = path.split("__")
        node = made
        for folder in folders:
            node = node[folder]
        node[last] = value
    return made


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"verdict": "fail", "reasons": ["The margins are off."]}, "not released: The margins are off."),
        ({"verdict": "inconclusive", "reasons": ["About 4,000 patients would settle it."]}, "not released: About 4,000 patients"),
        ({"disclosure__verdict": "inconclusive"}, "not released: All thresholds are met."),
        ({"disclosure__verdict": None}, "not released:"),
        ({"model__sha256": "0" * 64}, "is a report of another file of the model than is to be released"),
        ({"model__id": "other"}, "is a report of another model than is to be released"),
        ({"data__sha256": "0" * 64}, "is a report of other data than is to be released"),
        ({"data__permission": {"n_permitted": 7}}, "is a report of other permitted rows than is to be released"),
        ({"schema": "something/1"}, "is not a report of the schema trialsim.cohort_check/1"),
        ({"disclosure": None}, "is not a whole report"),
        ({"model": {}}, "is not a whole report"),
    ],
)
def test_what_is_refused_leaves_no_file(place, report, changes, message):
    out = place / "release.csv"
    result = _run(*_arguments(place, _changed(report, **changes)), "--out", out)
    assert result.exit_code == 3
    assert message in result.stderr
    assert not out.exists()
    assert not (place / "release.card.yaml").exists()


def test_a_refusal_is_logged(place, report):
    _run(*_arguments(place, _changed(report, verdict="fail", reasons=["The margins are off."])), "--out", place / "release.csv")
    (entry,) = audit.entries(place / "cohort-audit.jsonl")
    assert (entry.action, entry.details["reasons"]) == ("export refused", ["The margins are off."])


def test_a_longer_table_than_was_checked_is_refused(place, report):
    most = report["disclosure"]["n_synthetic"]
    result = _run(*_arguments(place, report, n=most + 1), "--out", place / "release.csv")
    assert result.exit_code == 3
    assert f"Disclosure was checked of tables of {most} patients, and {most + 1} are to be released: check with --n {most + 1}." in result.stderr


def test_the_check_is_run_where_none_is_given_and_its_gate_holds(place):
    """With four refits of 500 patients the gate cannot be settled: refused, with the reasons of the check."""
    out = place / "release.csv"
    result = _run(place / "made.cohort", "--data", place / "made.csv", "--n", 50, "--out", out, "--refits", 4, "--workers", 1)
    assert result.exit_code == 3
    assert "not released:" in result.stderr
    assert "AUC" in result.stderr
    assert not out.exists()


def test_a_stale_model_a_model_without_manifest_and_another_model_are_refused(place, report):
    arguments = _arguments(place, report)
    mark_stale(manifest_path(place / "made.cohort"), ["P0007"], on=date(2026, 1, 1), reason="withdrawal")
    stale = _run(*arguments, "--out", place / "release.csv")
    assert (stale.exit_code, "is stale: 1 of its patients withdrew on 2026-01-01" in stale.stderr) == (3, True)
    manifest_path(place / "made.cohort").unlink()
    unknown = _run(*arguments, "--out", place / "release.csv")
    assert (unknown.exit_code, "has no manifest" in unknown.stderr) == (3, True)
    assert not (place / "release.csv").exists()


def test_other_data_than_the_models_are_refused(place, report):
    with (place / "made.csv").open("a") as file:
        file.write("P9999,0.1,50,1,north,1,10.00,1,11\n")
    result = _run(*_arguments(place, report), "--out", place / "release.csv")
    assert result.exit_code == 3
    assert "is a report of other data than is to be released" in result.stderr


def test_wrong_calls(place, report, tmp_path):
    arguments = _arguments(place, report)
    before = (place / "made.csv").read_bytes()
    assert _run(*arguments, "--out", place / "made.csv").exit_code == 2  # not over the real data
    assert _run(*arguments, "--out", place / "made.csv", "--replace").exit_code == 2
    assert _run(*arguments, "--out", place / "made.parquet").exit_code == 2  # its card would be the data's
    assert (place / "made.csv").read_bytes() == before
    assert not (place / "made.parquet").exists()
    assert _run(*_arguments(place, report, n=0), "--out", place / "r.csv").exit_code == 2
    assert _run(*arguments, "--thresholds", "t.yaml", "--out", place / "r.csv").exit_code == 2
    (place / "report.json").write_text("{")
    assert _run(*arguments, "--out", place / "r.csv").exit_code == 3
    (place / "report.json").unlink()
    assert "there is no such file" in _run(*arguments, "--out", place / "r.csv").stderr
