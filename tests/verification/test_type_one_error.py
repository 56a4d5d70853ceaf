"""Type I error of the oncology protocol: group sequential, stratified, delayed effect in the alternatives only."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

PROTOCOL = Path(__file__).parents[2] / "trials" / "oncology_group_sequential.yaml"
ALPHA = 0.025


def rejected(n: int, *, first: int = 0) -> int:
    """Null trials with efficacy declared when futility is ignored, among `n` from replicate `first`."""
    study = load(PROTOCOL)
    cell = next(cell for cell in study.cells() if cell.scenario == "h0" and cell.design == "n=500")
    trial = compile_trial(cell, study.directory)
    total = 0
    for start in range(first, first + n, 250):
        ignoring = simulate(trial, Block(start, 250)).analyses["primary"].ignoring_futility
        assert ignoring is not None
        total += int(ignoring.sum())
    return total


def test_sampled() -> None:
    """10,000 trials, 3 MCSE: the part that every run of the tests makes."""
    n = 10_000
    assert abs(rejected(n) / n - ALPHA) < 3 * (ALPHA * (1 - ALPHA) / n) ** 0.5


@pytest.mark.slow
def test_in_full() -> None:
    """100,000 trials, 3 MCSE."""
    n = 100_000
    assert abs(rejected(n, first=200_000) / n - ALPHA) < 3 * (ALPHA * (1 - ALPHA) / n) ** 0.5
