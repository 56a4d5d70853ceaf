"""`explain` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner, Result

TRIALS = Path(__file__).parents[2] / "trials"


def trialsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", sorted(path.name for path in TRIALS.glob("*.yaml")))
def test_every_trial_of_the_repository_reads(name: str) -> None:
    result = trialsim("explain", TRIALS / name)
    assert result.exit_code == 0
    assert result.stdout.startswith("THE STUDY\n\n")
    assert result.stderr == ""


def test_set_changes_what_is_said(small_protocol: Path) -> None:
    before = trialsim("explain", small_protocol).stdout
    after = trialsim("explain", small_protocol, "--set", "hr=0.6").stdout
    assert "the hazard ratio for death is 0.55." in " ".join(before.split())
    assert "the hazard ratio for death is 0.6." in " ".join(after.split())


def test_json_holds_the_same_words(small_protocol: Path) -> None:
    text = trialsim("explain", small_protocol).stdout
    found = json.loads(trialsim("explain", small_protocol, "--json").stdout)
    assert found["schema"] == "trialsim.explain/1"
    for passage in found["passages"]:
        assert passage["title"].upper() in text
        for paragraph in passage["paragraphs"]:
            assert " ".join(paragraph.split()) in " ".join(text.split())


def test_a_wrong_protocol_is_one_line_a_problem_and_exit_3(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("spec: trialsim/1\nstudy: {id: A}\narsm: {a: {}}\n")
    result = trialsim("explain", tmp_path / "p.yaml")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert 'unknown key; did you mean "arms"?' in result.stderr
    assert trialsim("explain", tmp_path / "none.yaml").exit_code == 3


def test_a_protocol_of_few_sections_is_explained_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("spec: trialsim/1\nstudy: {id: A}\narms: {a: {}, b: {}}\n")
    result = trialsim("explain", tmp_path / "p.yaml")
    assert result.exit_code == 0
    assert "The trial has two arms: a and b." in result.stdout
    assert "SIMULATION" not in result.stdout
