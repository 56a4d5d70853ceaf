"""`trialsim cohort check`: the report in words, as JSON, as a page; and what it refuses."""

from __future__ import annotations

import json
import shutil
from datetime import date

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.data.governance.manifest import manifest_path, mark_stale


def _run(*arguments: object):
    return CliRunner().invoke(app, ["cohort", "check", *map(str, arguments)])


def test_the_report_is_the_normative_one(checked):
    report, _ = checked
    assert report["schema"] == "trialsim.cohort_check/1"
    assert report["verdict"] in ("pass", "fail", "inconclusive")
    assert report["reasons"]
    assert set(report["disclosure"]["membership_auc"]) >= {"estimate", "ci_low", "ci_high", "worst_subgroup"}
    assert {"name", "subgroup", "real", "synthetic", "error", "real_se"} <= set(report["effects"][0])
    assert report["effects"][0]["subgroup"] is None
    assert report["data"]["permission"]["n_permitted"] == 500
    assert report["data"]["n_compared"] == 500
    assert report["model"]["id"].startswith("made-copula-")
    assert report["same_data"] is True


def test_the_model_is_faithful_to_the_law_it_was_fitted_to(checked):
    report, _ = checked
    assert [criterion["sentence"] for criterion in report["criteria"] if not criterion["met"]] == []
    overall = {effect["outcome"]: effect for effect in report["effects"] if effect["subgroup"] is None}
    assert set(overall) == {"event", "value"}
    for effect in overall.values():
        assert abs(effect["error"]) < 0.6 * effect["real_se"]


def test_the_page_is_whole_and_says_the_verdict(checked):
    report, page = checked
    text = page.read_text()
    assert f'<p class="verdict {report["verdict"]}">' in text
    assert all(part in text for part in ("Margins", "Dependence", "Survival", "Effects", "Disclosure", "Fairness"))
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert [file.name for file in page.parent.iterdir()] == ["check.html"]


def test_in_words_without_disclosure_and_of_other_data(fitted_files, tmp_path):
    data = tmp_path / "other.csv"
    data.write_text(fitted_files.data.read_text() + "P9999,0.1,50,1,north,1,10.00,1,11\n")
    result = _run(fitted_files.model, "--data", data, "--card", fitted_files.card, "--refits", 0)
    assert result.exit_code == 0
    first, second, third, *rest = result.stdout.splitlines()
    assert first.endswith(": inconclusive")
    assert second == "Disclosure was not checked, so nobody can say whether the model tells whom it was fitted to."
    assert third.startswith("The model was fitted to other data")
    assert any(line.startswith("met     fidelity: margins") for line in rest)


def test_thresholds_and_target_are_read_and_a_stale_model_fails(fitted_files, tmp_path):
    model, thresholds, target = tmp_path / "made.cohort", tmp_path / "t.yaml", tmp_path / "target.yaml"
    shutil.copy(fitted_files.model, model)
    shutil.copy(manifest_path(fitted_files.model), manifest_path(model))
    mark_stale(manifest_path(model), ["P0007"], on=date(2026, 1, 1), reason="withdrawal")
    thresholds.write_text("classifier_auc: 0.501\nstandardised_difference: 0.1\n")
    target.write_text("columns: {age: {mean: 70, sd: 8}}\n")
    result = _run(model, "--data", fitted_files.data, "--refits", 0, "--thresholds", thresholds, "--target", target, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["verdict"]) == (0, "fail")
    assert "is stale: 1 of its patients withdrew on 2026-01-01" in report["reasons"][0]
    assert report["thresholds"]["classifier_auc"] == 0.501
    assert report["fairness"]["target"]["target"] == "target"
    assert any(reason.startswith("The column age is 2.") for reason in report["reasons"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--refits", "2"], "--refits 2: at least 4 are needed (20 or more are meant), or 0 to leave disclosure unchecked"),
        (["--on", "soon"], '--on "soon" is not a day such as 2026-03-31'),
        (["--thresholds", "no.yaml"], "no.yaml  there is no such file"),
        (["--target", "no.yaml"], "no.yaml  there is no such file"),
        (["--card", "no.yaml"], "no.yaml  there is no such file"),
    ],
)
def test_what_is_wrong_is_said(fitted_files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = _run(fitted_files.model, "--data", fitted_files.data, *([] if "--refits" in arguments else ["--refits", 0]), *arguments)
    assert result.exit_code in (2, 3)
    assert message in result.stderr


def test_files_that_are_no_model_or_no_data(fitted_files, tmp_path):
    assert _run(fitted_files.card, "--data", fitted_files.data).exit_code == 3
    assert _run(tmp_path / "no.cohort", "--data", fitted_files.data).exit_code == 3
    short = tmp_path / "short.csv"
    short.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in fitted_files.data.read_text().splitlines()))
    result = _run(fitted_files.model, "--data", short, "--refits", 0)
    assert result.exit_code == 3
    assert '"value"' in result.stderr


def test_a_page_that_cannot_be_written_is_said_before_anything_is_done(fitted_files):
    result = _run(fitted_files.model, "--data", fitted_files.data, "--refits", 0, "--out", fitted_files.card / "page.html")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_page_is_not_written_over_what_is_checked(fitted_files, tmp_path):
    for file in (fitted_files.model, fitted_files.data, fitted_files.card):
        before = file.read_bytes()
        result = _run(fitted_files.model, "--data", fitted_files.data, "--refits", 0, "--out", file)
        assert result.exit_code == 2
        assert "is a file that this command itself needs" in result.stderr
        assert file.read_bytes() == before
    result = _run(fitted_files.model, "--data", fitted_files.data, "--refits", 0, "--out", tmp_path)
    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)
