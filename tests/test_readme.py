"""The README tells the truth: its example runs and prints what is shown, its commands exist, its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from trialsim_cli.cohort import app as cohort
from trialsim_cli.main import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def block(kind: str) -> str:
    found = re.search(rf"<!-- {kind}: first.yaml -->\n```\w+\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "first.yaml").write_text(block("example"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_has_ten_lines() -> None:
    assert len(block("example").splitlines()) == 10


def test_the_example_prints_what_is_shown(in_folder: Path) -> None:
    prompt, _, shown = block("output").partition("\n")
    assert prompt.startswith("$ trialsim run first.yaml")
    result = CliRunner().invoke(app, [*prompt.removeprefix("$ trialsim ").split(), "--workers", "1"])
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [line.split() for line in shown.splitlines()]


@pytest.mark.parametrize("command", ["explain first.yaml", "design first.yaml", "validate first.yaml"])
def test_other_commands_take_the_example_too(in_folder: Path, command: str) -> None:
    assert f"trialsim {command.split()[0]}" in TEXT
    assert CliRunner().invoke(app, command.split()).exit_code == 0


def commands_of(group: typer.Typer) -> set[str]:
    return {str(command.name or command.callback.__name__) for command in group.registered_commands if command.callback is not None}


def commands_in_help() -> set[str]:
    return commands_of(app) | {str(group.typer_instance.info.name) for group in app.registered_groups if group.typer_instance is not None}


def test_every_command_named_exists_and_every_command_is_named() -> None:
    named = set(re.findall(r"trialsim ([a-z]+)", TEXT)) - {"run"} | {"run"}
    table = set(re.findall(r"^\| `trialsim ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert named <= commands_in_help()
    assert table == commands_in_help()
    help_text = CliRunner().invoke(app, ["--help"]).stdout
    assert all(re.search(rf"\b{name}\b", help_text) for name in table)


def test_every_command_on_cohorts_is_named_and_exists() -> None:
    for text in (TEXT, (ROOT / "docs" / "cohorts.md").read_text()):
        assert set(re.findall(r"(?:trialsim|`)(?: |)cohort ([a-z]+)", text)) <= commands_of(cohort)
    assert set(re.findall(r"`(?:trialsim )?cohort ([a-z]+)", TEXT)) == commands_of(cohort)


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", TEXT)) <= targets


def test_every_file_named_is_there() -> None:
    for name in re.findall(r"`((?:trials|docs|cli|tests)/[^` ]*)`", TEXT) + re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / name).exists(), name


def test_the_options_named_exist() -> None:
    for command in ("run", "analyse"):
        help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        for line in TEXT.splitlines():
            if f"trialsim {command} " in line:
                assert all(option in help_text for option in re.findall(r"--[a-z-]+", line)), line
