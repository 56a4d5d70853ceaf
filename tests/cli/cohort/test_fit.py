"""`trialsim cohort fit` from the outside: what it writes, what it says, and that nothing is left where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trialsim_cli.cohort.fit import parse_outcomes
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.cohort import EventColumns, ValueColumns
from trialsim.cohort.fitted import FittedCohort
from trialsim.data.governance.audit import entries, verify
from trialsim.data.governance.manifest import contains, require_fresh
from trialsim.errors import UsageError

OUTCOME = ("--outcome", "time=time,event=event,arm=arm")


def run(*words: object):
    return CliRunner().invoke(app, ["cohort", "fit", *map(str, words)])


@pytest.fixture
def place(fitted_files, tmp_path, monkeypatch):
    """A folder of its own with the data and the card."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIALSIM_AUDIT", raising=False)
    for file in (fitted_files.data, fitted_files.card):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_model_manifest_card_and_log_belong_together(fitted_files):
    model = FittedCohort.load(fitted_files.model)
    manifest = require_fresh(fitted_files.model)
    assert (manifest.model_id, manifest.purpose, manifest.card) == (model.id, "simulate", "made")
    assert contains(manifest, "P0007")
    assert not contains(manifest, "P9999")
    text = fitted_files.model.with_name("made.cohort.card.md").read_text()
    assert model.id in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## 1 Context of use",
        "## 2 Model risk",
        "## 3 Data",
        "## 4 Performance",
        "## 5 Limits",
    ]
    fits = [entry for entry in entries(fitted_files.log) if entry.action == "fit"]
    assert fits[0].details["model"] == str(fitted_files.model.absolute())
    assert fits[0].details["model_id"] == model.id
    assert verify(fitted_files.log) == []
    assert not list(fitted_files.model.parent.glob(".made.cohort.????????"))


def test_json_says_what_was_done(place):
    result = run(
        "made.csv",
        "--card",
        "made.card.yaml",
        "--model",
        "copula",
        *OUTCOME,
        "--purpose",
        "simulate",
        "--out",
        "deep/m.cohort",
        "--audit",
        "log.jsonl",
        "--json",
    )
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["schema"] == "trialsim.cohort_fit/1"
    assert (said["model"], said["kind"], said["arm"], said["n"]) == ("deep/m.cohort", "copula", "arm", 500)
    assert said["permission"]["n_permitted"] == 500
    assert said["covariates"] == ["x", "age", "sex", "site"]
    assert said["modelled"] == ["x", "age", "sex", "site", "arm", "time", "event", "value"]
    assert set(said["events"]["event"]["log_hr_sd"]) == {"1"}
    assert all(Path(said[key]).exists() for key in ("model", "manifest", "card", "audit"))
    assert said["audit"] == "log.jsonl"


def test_a_person_reads_lines(place):
    result = run("made.csv", *OUTCOME, "--out", "m.cohort")  # the card beside the data
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("m.cohort: model made-copula-")
    assert lines[1] == "500 of 500 rows are permitted for simulate"
    assert any(line.startswith("outcome event: log HR ") and line.endswith(", against 0") for line in lines)


def test_what_is_there_is_not_replaced_unless_asked(place):
    assert run("made.csv", *OUTCOME, "--out", "m.cohort").exit_code == 0
    before = Path("m.cohort").read_bytes()
    again = run("made.csv", *OUTCOME, "--out", "m.cohort")
    assert (again.exit_code, again.stderr) == (2, "m.cohort is there already; give another --out, or --replace\n")
    assert Path("m.cohort").read_bytes() == before
    assert run("made.csv", *OUTCOME, "--out", "m.cohort", "--replace").exit_code == 0
    assert Path("m.cohort").read_bytes() == before  # the same data and options
    require_fresh(Path("m.cohort"))


def test_a_log_that_is_broken_leaves_nothing(place):
    Path("log.jsonl").write_text("not a log\n")
    result = run("made.csv", *OUTCOME, "--out", "m.cohort", "--audit", "log.jsonl")
    assert result.exit_code == 3
    assert "nothing is added to a broken log" in result.stderr
    assert sorted(path.name for path in place.iterdir() if not path.name.startswith(".")) == ["log.jsonl", "made.card.yaml", "made.csv"]
    assert Path("log.jsonl").read_text() == "not a log\n"


def test_no_card_and_no_licence_end_before_the_data_are_opened(place):
    Path("made.csv").write_bytes(b"\xff\xfe not even text")
    Path("bare.yaml").write_text(Path("made.card.yaml").read_text().replace("licence: none needed\n", ""))
    for words, said in (
        (("--card", "none.yaml"), "none.yaml  there is no such file\n"),
        (("--card", "bare.yaml"), 'bare.yaml  licence: the card "made" has no licence, so no model is fitted to its data\n'),
        (("--purpose", "commercial"), 'made.card.yaml  purposes: the card "made" does not permit the purpose "commercial" (permitted: train, simulate)\n'),
    ):
        result = run("made.csv", *words, *OUTCOME, "--out", "m.cohort")
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == said
    Path("made.card.yaml").unlink()
    result = run("made.csv", *OUTCOME, "--out", "m.cohort")
    assert (result.exit_code, result.stderr) == (3, "made.csv  has no card (--card), so no model is fitted to it\n")
    assert not Path("m.cohort").exists()


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--outcome", "time=t,event=e"), 3, 'made.csv  there is no column "t"'),
        (("--outcome", "time=time"), 2, "a time-to-event outcome has time and event"),
        (("--outcome", "tme=time,event=event"), 2, 'unknown key "tme"; did you mean "time"?'),
        (("--outcome", "time"), 2, '"time" is not key=column'),
        (("--outcome", "arm=arm", "--outcome", "arm=sex"), 2, "gives another arm than before"),
        (("--purpose", "simulat"), 2, '--purpose "simulat" is not one; did you mean "simulate"?'),
        (("--model", "copola"), 2, '--model "copola" is not one; did you mean "copula"?'),
        (("--on", "yesterday"), 2, '--on "yesterday" is not a day such as 2026-03-31'),
        (("--out", "/proc/none/m"), 2, "/proc/none/m cannot be written"),
        (("--out", "."), 2, "is a folder"),
        (("--out", "made.csv", "--replace"), 2, "made.csv is a file that this command itself needs"),
        (("--out", "made.card.yaml", "--replace"), 2, "made.card.yaml is a file that this command itself needs"),
    ],
)
def test_bad_input_is_one_line(place, words, code, said):
    base = [] if "--out" in words else ["--out", "m.cohort"]
    result = run("made.csv", *words, *base)
    assert result.exit_code == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not Path("m.cohort").exists()


def test_outcomes_are_parsed():
    outcomes, arm, reference = parse_outcomes(
        ["time=d,event=c,arm=treat,reference=0", "value=cd420,baseline=cd40,visit=w20", "value=cd496,baseline=cd40,visit=w96", "name=os,time=t,event=e"]
    )
    assert outcomes == {
        "event": EventColumns(time="d", event="c"),
        "cd40": ValueColumns(columns={"baseline": "cd40", "w20": "cd420", "w96": "cd496"}),
        "os": EventColumns(time="t", event="e"),
    }
    assert (arm, reference) == ("treat", "0")
    assert parse_outcomes(["value=y"]) == ({"y": ValueColumns(columns={"after": "y"})}, None, None)
    for wrong in (["value=y,visit=w", "value=y,visit=w"], ["name=a,time=t,event=e", "name=a,time=t,event=e"], ["visit=w8"], ["time=a,time=b,event=c"]):
        with pytest.raises(UsageError):
            parse_outcomes(wrong)
