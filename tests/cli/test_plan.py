"""`plan` as a user meets it: a dry run that leaves nothing behind."""

from __future__ import annotations

import json

import pytest
from trialsim_cli.main import app
from trialsim_cli.plan import duration, size
from typer.testing import CliRunner


@pytest.fixture
def trialsim(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_table_for_the_eye_and_an_object_for_programs(trialsim, small_protocol, small_protocol_text, tmp_path):
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "replicates: 20000, target_mcse: {power: 0.008, duration: 30 days}"))
    before = sorted(tmp_path.iterdir())
    shown = trialsim("plan", small_protocol, "--only", "scenario=h0", "--workers", 2)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["scenario", "replicates", "of", "at", "most", "expected", "MCSE", "(target)", "stops", "when", "time", "disk"]
    assert lines[1].split()[:3] == ["h0", "4,096", "20,000"]
    assert "precise by then" in lines[1]
    assert "4,096 replicates in 1 cell: about" in shown.stdout
    assert "pilot of h0 (1 of 1)" in shown.stderr
    found = trialsim("plan", small_protocol, "--json")
    assert found.stderr == ""
    plan = json.loads(found.stdout)
    assert list(plan) == [
        "schema",
        "study",
        "protocol_sha256",
        "seed",
        "cells",
        "replicates",
        "workers",
        "seconds",
        "wall_seconds",
        "memory_bytes",
        "disk_bytes",
        "device",
    ]
    assert plan["schema"] == "trialsim.plan/1"
    assert [(cell["scenario"], cell["ceiling"], cell["binds"]) for cell in plan["cells"]] == [("h0", 20000, "target_mcse"), ("base", 20000, "target_mcse")]
    assert sorted(tmp_path.iterdir()) == before


def test_an_unknown_measure_is_refused_with_the_nearest(trialsim, small_protocol, small_protocol_text):
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "target_mcse: {durations: 3 days}"))
    for command in ("plan", "run"):
        result = trialsim(command, small_protocol)
        assert result.exit_code == 3
        assert 'simulation.target_mcse.durations: no measure "durations"; did you mean "duration"?' in result.stderr


def test_amounts_for_the_eye():
    assert [duration(seconds) for seconds in (0.42, 42.4, 150.0, 9000.0)] == ["0.4 s", "42 s", "2 min", "2.5 h"]
    assert [size(n) for n in (900.0, 3.44e6, 1.2e9)] == ["1 kB", "3.4 MB", "1.2 GB"]
