"""Non-inferiority through a whole trial: one-sided bounds, the null at the margin, power by the closed form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy.stats import norm

from trialsim.evaluation.truth import TrueValue
from trialsim.execution.comparisons import comparisons_of
from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

PROTOCOL = """\
spec: trialsim/1
study: {id: NI}
parameters: {shift: 0}
arms: {new: {type: experimental}, old: {type: active_comparator}}
population: {planned_enrollment: 100}
visits: {w12: {at: 12 weeks}}
endpoints: {score: {type: continuous, outcome: score, at: w12}}
truth:
  outcomes: {score: {dist: normal, mean: 10, sd: 2}}
  effects: {new: {score: {difference: $shift}}}
accrual: {uniform: 6 months}
randomization: {method: permuted_block, block_size: 4}
analyses:
  primary:
    endpoint: score
    treatment: {test: new, reference: old}
    method: t_test
    variance: pooled
    type: TYPE
    margin: 1
scenarios:
  edge: {role: null_hypothesis, set: {shift: -1}}
  same: {role: alternative}
  better: {role: alternative, set: {shift: 1}}
simulation: {seed: 5, replicates: 4000}
"""
N = 4_000


def _run(folder: Path, kind: str) -> dict[str, tuple[float, float, bool]]:
    """By scenario: the share of trials that show it, the share that reject the other way, and whether that is an error."""
    path = folder / "ni.yaml"
    path.write_text(PROTOCOL.replace("TYPE", kind))
    study, found = load(path), {}
    for cell in study.cells():
        trial = compile_trial(cell, study.directory)
        record = simulate(trial, Block(0, N)).analyses["primary"]
        truth = {"edge": -1.0, "same": 0.0, "better": 1.0}[cell.scenario]
        comparison = comparisons_of(trial, {"primary": TrueValue(truth)})["primary"]
        found[cell.scenario] = (record.reject.double().mean().item(), record.reject_wrong_direction.double().mean().item(), comparison.null)
    return found


def _power(distance: float) -> float:
    """Of a z-test at one-sided 0.025 with 50 patients an arm and SD 2; the t-test has .005 less at most."""
    return float(norm.sf(norm.isf(0.025) - distance / math.sqrt(4 / 50 + 4 / 50)))


def test_non_inferiority(tmp_path: Path) -> None:
    found = _run(tmp_path, "non_inferiority")
    for scenario, distance in (("edge", 0.0), ("same", 1.0), ("better", 2.0)):
        power, wrong, null = found[scenario]
        assert power == pytest.approx(_power(distance), abs=0.01 + 3 * math.sqrt(0.25 / N) * (distance > 0))
        assert wrong == 0.0  # a test of two sides becomes one of one: inferiority is not declared
        assert null is (scenario == "edge")


def test_equivalence(tmp_path: Path) -> None:
    found = _run(tmp_path, "equivalence")
    both = max(0.0, 2 * _power(1.0) - 1)
    assert found["same"][0] == pytest.approx(both, abs=0.01 + 3 * math.sqrt(0.25 / N))
    for scenario in ("edge", "better"):
        assert found[scenario][0] < 0.025 + 3 * math.sqrt(0.025 * 0.975 / N)
        assert found[scenario][2] is True
    assert found["same"][2] is False
