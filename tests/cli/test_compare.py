"""`compare` as a user meets it."""

from __future__ import annotations

import json

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner


@pytest.fixture
def trialsim(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(trialsim, small_protocol, small_protocol_text):
    text = small_protocol_text.replace("final: 40", "final: $events").replace("{hr: 0.55}", "{hr: 0.55, events: 40}")
    small_protocol.write_text(text + "designs: {early: {set: {events: 30}}, late: {set: {events: 40}}}\n")
    assert trialsim("run", small_protocol, "--out", "r", "--workers", 1).exit_code == 0
    return "r"


def test_a_table_for_the_eye_and_an_object_for_programs(trialsim, run):
    shown = trialsim("compare", run, "--scenario", "base")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[:2] == ["A: r, design early", "B: r, design late"]
    assert "base: 200 pairs of trials" in lines
    found = json.loads(trialsim("compare", run, "--design", "early", "--design", "late", "--json").stdout)
    assert (found["schema"], found["replicates"], found["notes"]) == ("trialsim.compare/1", {"h0": 200, "base": 200}, [])
    row = next(row for row in found["results"] if (row["scenario"], row["measure"]) == ("base", "duration"))
    assert set(row) >= {"a", "b", "difference", "mcse", "independent_mcse", "mcse_ratio", "correlation", "n", "n_unpaired"}
    months = next(line for line in lines if line.startswith("months"))
    assert f"{row['difference'] / 30.4375:+.2f} ± {row['mcse'] / 30.4375:.2f}" in months


def test_refusals_are_one_line_with_exit_code_2(trialsim, run):
    for arguments, said in ((("compare", run, "--design", "earl", "--design", "late"), 'did you mean "early"?'), (("compare", "nowhere"), "holds no run")):
        result = trialsim(*arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert said in result.stderr
