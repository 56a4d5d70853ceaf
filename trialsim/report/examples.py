"""Example trials: the stories that a run has kept of single trials, look by look (`simulation.keep.example_trials`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialsim.errors import UsageError
from trialsim.report.sentences.scenarios import ROLES
from trialsim.report.source import FinishedRun
from trialsim.report.wording import NB, capital, count, fixed, listed, number
from trialsim.units import DAYS

DECISIONS = {
    "reject": "efficacy declared",
    "reject_wrong_direction": "efficacy declared against the test arm",
    "stop_futility": "futile",
    "continue": "goes on",
    "not_rejected": "efficacy not declared",
    "already_decided": "decided before",
}


@dataclass(frozen=True, slots=True)
class ExampleTrial:
    """One trial: `heading` says who was randomised, `lines` are the looks (head and cells), `end` why it stopped."""

    heading: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    end: str


@dataclass(frozen=True, slots=True)
class ExampleCell:
    """The example trials of a cell."""

    name: str
    role: str
    columns: tuple[str, ...]
    trials: tuple[ExampleTrial, ...]


def example_cells(run: FinishedRun) -> list[ExampleCell]:
    """Of every cell that has kept some, in the order of the run. UsageError where a file cannot be read."""
    cells = []
    for index in range(len(run.manifest["cells"])):
        path = run.path / "cells" / f"{index:03d}" / "examples.json"
        if not path.is_file():
            continue
        try:
            cells.append(_cell(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
    return cells


def _cell(told: Mapping[str, Any]) -> ExampleCell:
    endpoints = list(told["trials"][0]["looks"][0]["n_events"]) if told["trials"] else []
    several = len({name for trial in told["trials"] for look in trial["looks"] for name in look["analyses"]}) > 1
    return ExampleCell(
        name=told["scenario"] if told["design"] == "default" else f"{told['design']} · {told['scenario']}",
        role=ROLES[told["role"]],
        columns=(
            "Month",
            "Patients",
            *(f"Events ({endpoint})" for endpoint in endpoints),
            *(["Analysis"] if several else []),
            "z",
            "Efficacy",
            "Futility",
            "Decision",
        ),
        trials=tuple(_trial(trial, endpoints, several) for trial in told["trials"]),
    )


def _trial(trial: Mapping[str, Any], endpoints: list[str], several: bool) -> ExampleTrial:
    lines = []
    for look in trial["looks"]:
        when = (fixed(look["look_time"] / DAYS["month"], 1), count(look["n_enrolled"]), *(count(look["n_events"][name]) for name in endpoints))
        for name, finding in look["analyses"].items():
            lines.append((look["name"], (*when, *([name] if several else []), *_found(finding))))
        if not look["analyses"]:
            lines.append((look["name"], (*when, *(["–"] if several else []), "–", "–", "–", "no analysis")))
    return ExampleTrial(
        heading=f"Replicate {count(trial['replicate'])}: {count(trial['n_enrolled'], 'patient')}, "
        f"{listed(f'{count(n)} {arm}' for arm, n in trial['allocated'].items())}",
        lines=tuple(lines),
        end=f"Stopped in month {fixed(trial['duration'] / DAYS['month'], 1)}. {capital(trial['why'])}.",
    )


def _found(finding: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """z, the bounds it met, the decision."""
    efficacy, futility = finding["efficacy_z"], finding["futility_z"]
    if finding["futility_hazard_ratio"] is not None:
        limit = f"hazard ratio >{NB}{number(finding['futility_hazard_ratio'])}"
    elif futility is None or futility == efficacy:  # equal: the last look, where what is not rejected is over
        limit = "–"
    else:
        limit = f"<{NB}{fixed(futility, 3)}"
    return (
        "failed" if finding["z"] is None else fixed(finding["z"], 3),
        "–" if efficacy is None else f"≥{NB}{fixed(efficacy, 3)}",
        limit,
        finding["failure"] or DECISIONS[finding["decision"]],
    )
