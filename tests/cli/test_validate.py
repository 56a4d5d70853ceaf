"""`trialsim validate`, `resolve` and `schema` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.spec.loading import compose
from trialsim.spec.nodes import plain

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
runner = CliRunner()


def run(*arguments: object):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_validate_says_ok_with_the_cells_and_the_hash():
    result = run("validate", TRIALS / "oncology_group_sequential.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: ONC-301, 18 cells, sha256 ")
    assert len(result.stdout.split()[-1]) == 64


def test_validate_prints_notes_as_lines_with_a_place():
    path = TRIALS / "alzheimers_twin.yaml"
    lines = run("validate", path).stdout.splitlines()
    assert f"{path}:56:1  note: not supported yet: adaptations: drop_arms (interims)" in lines
    assert lines[-1].startswith("ok: AD-201, 18 cells, sha256 ")


def test_validate_prints_every_problem_on_stderr_and_exits_with_3():
    path = SPECS / "invalid" / "several_at_once.yaml"
    result = run("validate", path)
    assert result.exit_code == 3
    assert result.stdout == ""
    expected = [line.removeprefix("# expect: ") for line in path.read_text().splitlines() if line.startswith("# expect")]
    assert result.stderr.splitlines() == [f"{path}:{line}" for line in expected]


def test_validate_json_of_a_valid_and_an_invalid_protocol():
    valid = json.loads(run("validate", SPECS / "valid" / "survival.yaml", "--json").stdout)
    assert (valid["schema"], valid["valid"], valid["problems"], valid["notes"], valid["study"], valid["cells"]) == (
        "trialsim.validation/1",
        True,
        [],
        [],
        "SURV-1",
        1,
    )
    result = run("validate", SPECS / "invalid" / "unknown_key.yaml", "--json")
    assert result.exit_code == 3
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (28, 17, "randomization.ratoi")
    assert problem["message"] == 'unknown key; did you mean "ratio"?'


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--set", "hrr=1"), 2, '--set hrr: the protocol has no parameter "hrr"; did you mean "hr"?'),
        (("--set", "hr"), 2, '--set "hr": write name=value'),
        (("--set", "dropout=0.01"), 3, "(parameter dropout, --set)"),
        (("--seed", "-4"), 2, "--seed -4: a seed is a whole number from 0"),
    ],
)
def test_wrong_settings_are_usage_errors_and_wrong_values_protocol_errors(arguments: tuple[str, ...], code: int, message: str):
    result = run("validate", TRIALS / "oncology_group_sequential.yaml", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_is_one_line():
    result = run("validate", "nowhere.yaml")
    assert (result.exit_code, result.stderr) == (3, "nowhere.yaml  no such file\n")


def test_resolve_prints_a_protocol_with_the_same_hash(tmp_path: Path):
    printed = run("resolve", TRIALS / "actg175.yaml", "--set", "share=0.5", "--seed", "9")
    assert printed.exit_code == 0
    file = tmp_path / "r.yaml"
    file.write_text(printed.stdout)
    again = run("validate", file).stdout.split()[-1]
    assert again == run("validate", TRIALS / "actg175.yaml", "--set", "share=0.5", "--seed", "9").stdout.split()[-1]
    assert again != run("validate", TRIALS / "actg175.yaml").stdout.split()[-1]
    as_json = json.loads(run("resolve", TRIALS / "actg175.yaml", "--set", "share=0.5", "--seed", "9", "--json").stdout)
    assert plain(compose(printed.stdout, "f")) == as_json
    assert as_json["simulation"]["seed"] == 9


def test_schema_prints_a_json_schema():
    schema = json.loads(run("schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "protocol" in schema["$defs"]
