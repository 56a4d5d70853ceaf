"""A small model fitted by the command, its data and card, and its check."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner
from witness.samplers import trial

CARD = """\
id: made
title: Patients of a known law
source: tests
licence: none needed
purposes: [train, simulate]
columns:
  patient: {type: text, role: id}
  x: {type: continuous}
  age: {type: continuous, unit: years}
  sex: {type: binary}
  site: {type: categorical, levels: [north, south, west]}
  arm: {type: binary, role: arm}
  time: {type: continuous, unit: weeks, role: outcome}
  event: {type: binary, role: outcome}
  value: {type: continuous, role: outcome}
"""


@dataclass(frozen=True)
class Made:
    """The files of a fit."""

    model: Path
    data: Path
    card: Path
    log: Path


def write_trial(path: Path, n: int, *, seed: int) -> None:
    """Patients of the known law as a CSV."""
    table = trial(n, seed=seed, missing=0.1)
    names = ("x", "age", "sex", "site", "arm", "time", "event", "value")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *names])
        for row in range(n):
            cells = []
            for name in names:
                value = table.columns[name][row]
                whole = name in ("sex", "arm", "event")
                cells.append("" if np.isnan(value) else table.levels[name][int(value)] if name in table.levels else int(value) if whole else f"{value:.2f}")
            writer.writerow([f"P{row:04d}", *cells])


@pytest.fixture(scope="session")
def fitted_files(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("cohort")
    made = Made(folder / "made.cohort", folder / "made.csv", folder / "made.card.yaml", folder / "cohort-audit.jsonl")
    write_trial(made.data, 500, seed=1)
    made.card.write_text(CARD)
    command = ["cohort", "fit", str(made.data), "--outcome", "time=time,event=event,arm=arm", "--outcome", "value=value", "--out", str(made.model)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return made


@pytest.fixture(scope="session")
def checked(fitted_files: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The check with the fewest refits: its JSON and its page."""
    page = tmp_path_factory.mktemp("page") / "check.html"
    command = ["cohort", "check", str(fitted_files.model), "--data", str(fitted_files.data), "--refits", "4", "--workers", "1", "--out", str(page), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), page
