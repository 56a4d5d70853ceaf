"""`trialsim cohort audit` from the outside."""

from __future__ import annotations

import json

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.data.governance.audit import append


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIALSIM_ACTOR", "ann\x1b[31m\nx")
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    path = tmp_path / "cohort-audit.jsonl"
    append(path, "fit", {"model": "/m/é", "persons": ["f" * 64] * 9})
    append(path, "withdraw", {"n": 1})
    return path


def run(*words: object):
    return CliRunner().invoke(app, ["cohort", "audit", *map(str, words)])


def test_the_entries_a_line_each(log):
    result = run()
    assert result.exit_code == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.startswith("1  20")
    assert first.endswith('  ann?[31m?x  fit  model="/m/\\u00e9"  persons="[9 items]"')
    assert second.endswith("  withdraw  n=1")


def test_a_log_that_holds(log):
    result = run(log, "--verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"ok: 2 entries, head {json.loads(log.read_text().splitlines()[-1])['hash']}\n"


def test_every_broken_line_is_named_and_the_exit_code_is_3(log):
    append(log, "fit", {})
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0].replace("fit", "fat") + lines[2].replace("fit", "fat"))
    result = run("cohort-audit.jsonl", "--verify")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[:2] == [
        "cohort-audit.jsonl:1  the entry was edited: its hash does not fit its content",
        "cohort-audit.jsonl:2  the entry was edited: its hash does not fit its content",
    ]


def test_json(log):
    result = run("--verify", "--json")
    found = json.loads(result.stdout)
    assert (found["schema"], found["verified"], found["problems"], len(found["entries"])) == ("trialsim.cohort_audit/1", True, [], 2)
    assert found["head"] == found["entries"][-1]["hash"]
    assert json.loads(run("--json").stdout)["verified"] is None


def test_json_of_a_broken_log(log):
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    result = run("--verify", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verified"], found["entries"]) == (3, False, [])
    assert found["problems"] == [{"file": "cohort-audit.jsonl", "line": 1, "message": "the log ends with entry 1, its head record says 2: the end was cut"}]


def test_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ((), ("--verify",)):
        result = run("none.jsonl", *words)
        assert (result.exit_code, result.stderr) == (3, "none.jsonl  there is no such file\n")
