"""The example trials of the page are those that the run has kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trialsim.errors import UsageError
from trialsim.report import write_report
from trialsim.report.examples import example_cells
from trialsim.report.source import read_run
from trialsim.report.wording import MINUS, NB


def plain(text: str) -> str:
    return text.replace(NB, " ")


def test_every_look_of_every_kept_trial_is_told(finished: Path) -> None:
    cells = example_cells(read_run(finished))
    assert [(cell.name, cell.role) for cell in cells] == [("none", "null hypothesis"), ("expected", "alternative")]
    for index, cell in enumerate(cells):
        told = json.loads((finished / "cells" / f"{index:03d}" / "examples.json").read_text())["trials"]
        assert cell.columns == ("Month", "Patients", "Events (relapse_free)", "Analysis", "z", "Efficacy", "Futility", "Decision")
        assert len(cell.trials) == len(told) == 2
        for shown, trial in zip(cell.trials, told, strict=True):
            arms = trial["allocated"]
            words = f"{trial['n_enrolled']} patients, {arms['treated']} treated and {arms['usual_care']} usual_care"
            assert plain(shown.heading) == f"Replicate {trial['replicate']}: {words}"
            assert [head for head, _ in shown.lines] == [look["name"] for look in trial["looks"] for _ in look["analyses"]]
            findings = [(look, name, finding) for look in trial["looks"] for name, finding in look["analyses"].items()]
            for (_, cells_), (look, name, finding) in zip(shown.lines, findings, strict=True):
                assert cells_[:2] == (f"{look['look_time'] / 30.4375:.1f}", str(look["n_enrolled"]))
                assert cells_[3:6] == (name, f"{finding['z']:.3f}".replace("-", MINUS), f"≥{NB}{finding['efficacy_z']:.3f}")
            assert shown.end.startswith(f"Stopped in month {trial['duration'] / 30.4375:.1f}. ")
            assert trial["why"] in shown.end.replace("Primary", "primary").replace("Final", "final")
    futility = {head: entries[6] for cell in cells for trial in cell.trials for head, entries in trial.lines if entries[3] == "primary"}
    assert plain(futility["look1"]) == "< 0.100"
    assert futility.get("final", "–") == "–"


def test_the_page_shows_them_and_only_where_they_are_kept(finished: Path, tmp_path: Path) -> None:
    text = write_report(finished, tmp_path / "page.html").read_text()
    assert 'href="#examples"' in text
    assert text.count("Stopped in month") == 4
    bare = tmp_path / "bare"
    shutil.copytree(finished, bare)
    for path in bare.glob("cells/*/examples.json"):
        path.unlink()
    text = write_report(bare, tmp_path / "bare.html").read_text()
    assert "#examples" not in text
    assert "Example trials" not in text


def test_a_damaged_file_is_named(finished: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    (broken / "cells" / "001" / "examples.json").write_text('{"trials": [')
    with pytest.raises(UsageError, match=r"001/examples\.json: cannot be read"):
        write_report(broken)


def finding(**changes: object) -> dict[str, object]:
    return {"z": 1.0, "efficacy_z": 2.0, "futility_z": None, "futility_hazard_ratio": None, "failure": None, "decision": "continue", **changes}


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        ({}, ("1.000", "≥ 2.000", "–", "goes on")),
        ({"futility_z": -0.25, "z": -0.5, "decision": "stop_futility"}, ("−0.500", "≥ 2.000", "< −0.250", "futile")),
        ({"futility_hazard_ratio": 0.9, "futility_z": 0.8}, ("1.000", "≥ 2.000", "hazard ratio > 0.9", "goes on")),
        ({"futility_z": 2.0, "decision": "not_rejected"}, ("1.000", "≥ 2.000", "–", "efficacy not declared")),
        ({"z": None, "failure": "no events in an arm"}, ("failed", "≥ 2.000", "–", "no events in an arm")),
        ({"efficacy_z": None, "z": 0.0}, ("0.000", "–", "–", "goes on")),
    ],
)
def test_how_a_finding_is_written(finished: Path, tmp_path: Path, changes: dict[str, object], entries: tuple[str, ...]) -> None:
    look = {"name": "look1", "look_time": 30.4375, "n_enrolled": 2, "n_events": {"relapse_free": 1}, "analyses": {"primary": finding(**changes)}}
    trial = {"replicate": 0, "n_enrolled": 2, "allocated": {"a": 1, "b": 1}, "duration": 30.4375, "why": "primary went on", "looks": [look]}
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for path in folder.glob("cells/*/examples.json"):
        path.write_text(json.dumps({"design": "default", "scenario": "expected", "role": "alternative", "trials": [trial]}))
    (shown,) = example_cells(read_run(folder))[0].trials
    ((head, cells),) = shown.lines
    assert (head, tuple(plain(cell) for cell in cells)) == ("look1", ("1.0", "2", "1", *entries))
