"""`report` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner, Result


def trialsim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_protocol_text: str) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.yaml").write_text(small_protocol_text)
    assert trialsim("run", folder / "small.yaml", "--replicates", 20, "--workers", 1, "--out", folder / "run").exit_code == 0
    return folder / "run"


def test_it_prints_where_the_page_is(run: Path, tmp_path: Path) -> None:
    result = trialsim("report", run)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(run / "report.html")
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")
    result = trialsim("report", run, "--out", tmp_path / "page.html")
    assert result.stdout.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()


def test_the_page_says_what_the_run_did_and_what_the_protocol_asks(run: Path) -> None:
    trialsim("report", run)
    text = (run / "report.html").read_text()
    assert "40 simulated trials" in text.replace("\u00a0", " ")
    assert "The protocol asks for 200 in each." in text


def test_a_folder_that_holds_no_run_is_a_usage_error(tmp_path: Path) -> None:
    result = trialsim("report", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"{tmp_path}: holds no run (there is no manifest.json)"


def test_a_run_that_is_not_complete_is_resumable_not_reportable(run: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text((run / "manifest.json").read_text().replace('"state": "complete"', '"state": "incomplete"'))
    result = trialsim("report", tmp_path)
    assert result.exit_code == 4
    assert "trialsim resume" in result.stderr
    assert not (tmp_path / "report.html").exists()
