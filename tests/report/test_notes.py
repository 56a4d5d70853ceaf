"""Notes and headline: what must not be overlooked is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialsim.report.headline import scope, tiles
from trialsim.report.notes import notes
from trialsim.report.source import FinishedRun, read_run
from trialsim.report.tables import Results
from trialsim.report.wording import NB
from trialsim.spec import load
from trialsim.spec.resolution import to_yaml


@pytest.fixture(scope="module")
def run(finished: Path) -> FinishedRun:
    return read_run(finished)


def with_changed(run: FinishedRun, measure: str, scenario: str, estimate: float) -> FinishedRun:
    """The run with one whole-trial result changed."""

    def row(given: dict[str, Any]) -> dict[str, Any]:
        hit = given["measure"] == measure and given["scenario"] == scenario and given["look"] is None and given["analysis"] in (None, "primary")
        return {**given, "estimate": estimate, "mcse": 0.02} if hit else given

    return replace(run, results={**run.results, "results": [row(given) for given in run.rows]})


def said(run: FinishedRun) -> str:
    return " ".join(notes(run)).replace(NB, " ")


def test_a_clean_run_says_that_nothing_failed(run: FinishedRun) -> None:
    clean = with_changed(with_changed(run, "target_not_reached", "none", 0.0), "target_not_reached", "expected", 0.0)
    assert "No analysis failed in any replicate." in said(clean)
    assert "Every look reached its target in every replicate." in said(clean)


def test_failures_are_counted_by_analysis_and_cell(run: FinishedRun) -> None:
    text = said(with_changed(run, "convergence_failure", "expected", 0.05))
    assert "Analyses failed (a failed analysis never rejects; share of replicates): primary under expected in 0.050 (± 0.020, n 40)." in text
    assert "No analysis failed" not in text


def test_unreached_targets_are_counted_by_cell(run: FinishedRun) -> None:
    text = said(with_changed(run, "target_not_reached", "none", 0.1))
    assert "A look did not reach its target" in text
    assert "under none in 0.100 (± 0.020, n 60)" in text


def test_tiles_are_of_the_described_design_and_its_null(run: FinishedRun) -> None:
    made = {tile.label: tile for tile in tiles(run, Results(run.rows))}
    assert list(made) == ["Power, primary", "Power, points", "Type I error, primary", "Patients, mean", "Duration, mean"]
    assert made["Power, primary"].of == "expected"
    assert made["Type I error, primary"].of == "none, futility ignored"
    assert made["Duration, mean"].unit == "months"


def test_the_scope_says_where_the_run_is_less_than_the_protocol(run: FinishedRun) -> None:
    assert scope(run).replace(NB, " ") == "100 simulated trials: 60 in each null hypothesis cell and 40 in each alternative cell."
    fewer = [{**cell, "replicates": 10} for cell in run.manifest["cells"]]
    text = scope(replace(run, manifest={**run.manifest, "cells": fewer})).replace(NB, " ")
    assert text == "20 simulated trials: 10 trials in each of 2 cells. The protocol asks for 40 or 60 in each."
    one = [cell for cell in run.manifest["cells"] if cell["scenario"] == "expected"]
    text = scope(replace(run, manifest={**run.manifest, "cells": one})).replace(NB, " ")
    assert text == "40 simulated trials: 40 trials in the one cell. The protocol has two cells; this run is of one of them."


def test_the_scope_says_where_precision_decided(run: FinishedRun, tmp_path: Path) -> None:
    protocol = tmp_path / "precise.yaml"
    protocol.write_text(to_yaml(run.study.resolved() | {"simulation": {**run.study.resolved()["simulation"], "target_mcse": {"power": 0.05}}}))
    first, second = ({**cell, "replicates": n} for cell, n in zip(run.manifest["cells"], (40, 60), strict=True))
    made = replace(run, study=load(protocol), manifest={**run.manifest, "cells": [{**first, "ceiling": 900}, second]})
    assert scope(made).replace(NB, " ") == (
        "100 simulated trials of two cells, each simulated until precise enough: 40 to 60 of at most 60 or 900. One cell took as many as there may be."
    )
