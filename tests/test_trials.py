"""Every protocol in trials/ that the engine can run does run, and analyses every trial."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

TRIALS = Path(__file__).parents[1] / "trials"
NEW = ("copd_exacerbations", "depression_mmrm", "ulcerative_colitis_remission")


@pytest.mark.parametrize("name", NEW)
def test_an_example_runs_and_its_analyses_do_not_fail(name: str) -> None:
    study = load(TRIALS / f"{name}.yaml")
    study.require_runnable()
    for cell in study.cells():
        trial = compile_trial(cell, study.directory)
        record = simulate(trial, Block(0, 6))
        for analysis in record.analyses.values():
            last = (record.stop_look - 1)[:, None]
            assert (analysis.failure.gather(-1, last) == 0).all()
            assert torch.isfinite(analysis.z.gather(-1, last)).all()
