"""`cohort ingest` as a user meets it."""

from __future__ import annotations

import json

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

SOURCES = """\
ingest: trialsim.ingest/1
id: small
title: Small
source: made up
licence: CC0-1.0
purposes: [simulate]
sources:
  demo: {kind: table, files: demo.csv, person: id, birth: born}
  dx: {kind: table, files: dx.csv, person: id, date: at, code: code, system: s, event: condition}
codes:
  diabetes: {system: s, codes: [E11]}
index: {codes: diabetes}
features:
  age: {attribute: birth, as: age}
  sex: {attribute: sex}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    (tmp_path / "S.yaml").write_text(SOURCES)
    (tmp_path / "demo.csv").write_text("id,born,sex\na,1950-01-01,f\nb,1960-01-01,m\nc,1970-01-01,f\n")
    (tmp_path / "dx.csv").write_text("id,at,code\na,2020-01-01,E11\nb,2021-01-01,E11\n")
    return tmp_path


def _run(*arguments):
    return CliRunner().invoke(app, ["cohort", "ingest", *map(str, arguments)])


def test_a_table_of_the_filters_and_what_was_written(folder):
    result = _run("S.yaml", "--out", "out")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["demo", "rows", "3"] in lines
    assert ["persons", "3"] in lines
    assert ["with", "an", "index", "date", "2"] in lines
    assert ["age", "continuous", "years", "0"] in lines
    assert result.stdout.splitlines()[-2:] == ["wrote out/patients.parquet", "wrote out/patients.card.yaml"]
    assert sorted(path.name for path in (folder / "out").iterdir() if not path.name.startswith(".")) == [
        "cohort-audit.jsonl",
        "cohort-audit.jsonl.head",
        "patients.card.yaml",
        "patients.parquet",
    ]


def test_one_object_for_programs(folder):
    found = json.loads(_run("S.yaml", "--out", "out", "--json").stdout)
    assert (found["schema"], found["rows"], found["written"]) == ("trialsim.ingest/1", 2, ["out/patients.parquet", "out/patients.card.yaml"])
    assert found["persons"][1] == {"step": "with an index date", "n": 2}


def test_checking_writes_nothing(folder):
    before = sorted(folder.iterdir())
    result = _run("S.yaml", "--check")
    assert (result.exit_code, result.stderr) == (0, "checked; nothing was written\n")
    assert sorted(folder.iterdir()) == before


def test_bad_input_is_named_and_nothing_is_written(folder):
    (folder / "demo.csv").write_text("id,born,sex\na,1950-01-01,f\na,1960-01-01,m\nc,1970-01-01,f\n")
    (folder / "dx.csv").write_text("id,at,code\na,1920-01-01,E11\nb,yesterday,E11\n")
    result = _run("S.yaml", "--out", "out")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        'dx.csv:3  "yesterday" in the column "at" is not a date (YYYY-MM-DD)',
        'demo.csv:3  two persons have the id "a" (the first on line 2)',
        "dx.csv:2  1 event is before the person's birth",
    ]
    assert not (folder / "out").exists()


def test_what_is_there_is_kept(folder):
    assert _run("S.yaml", "--out", "out").exit_code == 0
    before = (folder / "out/patients.parquet").read_bytes()
    result = _run("S.yaml", "--out", "out")
    assert (result.exit_code, result.stderr) == (2, "out/patients.parquet is there already; --replace writes it anew\n")
    assert _run("S.yaml", "--out", "out", "--replace").exit_code == 0
    assert (folder / "out/patients.parquet").read_bytes() == before


@pytest.mark.parametrize("arguments", [("S.yaml",), ("S.yaml", "--out", "out", "--check")])
def test_either_out_or_check(folder, arguments):
    result = _run(*arguments)
    assert (result.exit_code, result.stderr) == (2, "give either --out DIR or --check\n")
