"""Whole trials against rpact's simulations, and the promises of addressing: same bits, shared patients."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trialsim.records import AnalysisRecord, Block, TrialRecord
from trialsim.simulate import Trial, compile_trial, simulate
from trialsim.spec import load

MONTH = 30.4375
N = 20_480  # replicates of each comparison with rpact
BENCHMARK = Path(__file__).parent / "benchmarks" / "protocols" / "fixed_survival.yaml"
REFERENCE = Path(__file__).parent / "reference" / "simulated_survival_rpact.csv"
EFFECTS = {
    "delay6": "[{until: 6 months, value: 1.0}, {value: 0.5}]",
    "crossing": "[{until: 4 months, value: 1.4}, {value: 0.55}]",
    "diminishing": "[{until: 6 months, value: 0.5}, {value: 1.0}]",
}


def rows() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with REFERENCE.open() as file:
        for row in csv.DictReader(file):
            found.setdefault(row["label"], []).append(row)
    return found


def protocol(tmp_path: Path, changes: str, name: str = "protocol.yaml") -> Trial:
    path = tmp_path / name
    path.write_text(f"extends: {BENCHMARK}\n{changes}")
    study = load(path)
    return compile_trial(study.cells()[0], study.directory)


def everything(record: TrialRecord) -> list[Tensor]:
    tensors = [
        record.cut_time,
        record.n_enrolled,
        record.reached,
        record.stop_look,
        record.target_not_reached,
        *record.n_events.values(),
        *record.n_per_arm.values(),
    ]
    for analysis in record.analyses.values():
        tensors += [value for field in fields(AnalysisRecord) if (value := getattr(analysis, field.name)) is not None]
    return tensors


def in_blocks(trial: Trial, n: int, size: int) -> list[Tensor]:
    blocks = [everything(simulate(trial, Block(first, min(size, n - first)))) for first in range(0, n, size)]
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]


@pytest.mark.parametrize("label", rows())
def test_operating_characteristics_are_those_of_rpact(tmp_path: Path, label: str) -> None:
    """Within 4 combined Monte Carlo standard errors; rpact's allocation alternates, ours permutes blocks of 4."""
    expected = rows()[label]
    inputs = json.loads(expected[0]["inputs"])
    effect = next((text for name, text in EFFECTS.items() if label.startswith(name)), str(inputs.get("hazardRatio")))
    changes = f"truth: {{effects: {{experimental: {{death: {{hr: {effect}}}}}}}}}\n"
    stages = inputs["plannedEvents"] if isinstance(inputs["plannedEvents"], list) else [inputs["plannedEvents"]]
    if len(stages) > 1:
        futility = ", futility: {z: [0, 0.5], binding: false}" if "futility" in label else ""
        changes += f"interims: {{timing: {{fractions: [0.5, 0.752]}}, efficacy: {{spending: lan_demets_obrien_fleming}}{futility}}}\n"
    trial = protocol(tmp_path, changes)
    records = [simulate(trial, Block(first, 256)) for first in range(0, N, 256)]
    primary = [record.analyses["primary"] for record in records]
    reject, futile = torch.cat([a.reject for a in primary]).double(), torch.cat([a.futile for a in primary]).double()
    cut, reached = torch.cat([r.cut_time for r in records]) / MONTH, torch.cat([r.reached for r in records])
    enrolled, events = torch.cat([r.n_enrolled for r in records]).double(), torch.cat([r.n_events["os"] for r in records]).double()
    last = (torch.cat([r.stop_look for r in records]) - 1)[:, None]
    checked = 0
    for row in expected:
        look = int(row["index"].split(",")[0] or 1) - 1
        values = {
            "overallReject": lambda: reject.amax(-1),
            "rejectPerStage": lambda k=look: reject[:, k],
            "futilityPerStage": lambda k=look: futile[:, k],
            "numberOfSubjects": lambda k=look: enrolled[reached[:, k], k],
            "analysisTime": lambda k=look: cut[reached[:, k], k],
            "studyDuration": lambda: cut.gather(-1, last),
            "expectedNumberOfEvents": lambda: events.gather(-1, last),
            "expectedNumberOfSubjects": lambda: enrolled.gather(-1, last),
        }[row["output"]]()
        sd = values.std().item()
        n = len(values)
        mcse = sd * math.sqrt(1 / n + N / n / float(row["nsim"]))
        assert values.mean().item() == pytest.approx(float(row["value"]), abs=max(4 * mcse, 1e-6 * float(row["value"]))), row
        checked += 1
    assert checked >= 4


MANY_WAYS = {
    "fixed": "",
    "futility": "interims: {timing: {fractions: [0.4, 0.7], and_at_least: {after_last_patient_in: 6 months}, not_after: 26 months}, efficacy: {boundary: pocock}, "
    "futility: {hazard_ratio_above: [1.0, 0.95], binding: false}}\nscenarios: {h0: {role: null_hypothesis}}\n",
    "strata": """
population:
  covariates: {ecog: {dist: categorical, probs: {"0": 0.4, "1": 0.6}}, age: {dist: truncated_normal, mean: 63 years, sd: 9 years, low: 18 years}}
  correlation: {method: gaussian_copula, pairs: [[ecog, age, 0.3]]}
  eligibility: {I01: {category: inclusion, covariate: age, min: 55 years}}
truth:
  outcomes: {death: {dist: weibull, median: null, shape: 1.1, scale: 14 months, prognostic: {ecog: {hr: 1.5, level: "1"}, age: {hr: 1.2, per: 10 years, center: 63 years}}}}
  effects: {experimental: {death: {hr: [{until: 3 months, value: 1.0}, {value: 0.6}]}}}
accrual: {uniform: null, rate: [{until: 6 months, value: 15 / month}, {value: 30 / month}]}
randomization: {method: stratified_block, stratify_by: [ecog], block_size: [2, 4]}
analyses: {primary: {stratify_by: [ecog], estimate: cox}, adjusted: {estimand: e1, method: cox, covariates: [age, ecog], alpha: 0.025, sides: 1}}
interims: {analysis: primary}
""",
}


@pytest.mark.parametrize("changes", MANY_WAYS.values(), ids=MANY_WAYS)
def test_same_bits_at_any_block_size(tmp_path: Path, changes: str) -> None:
    trial = protocol(tmp_path, changes)
    whole = in_blocks(trial, 64, 64)
    for size in (1, 7):
        for a, b in zip(in_blocks(trial, 64, size), whole, strict=True):
            assert torch.equal(a.double().nan_to_num(-1.0), b.double().nan_to_num(-1.0))


def test_designs_and_scenarios_share_their_patients(tmp_path: Path) -> None:
    """With more patients planned at the same rate the first ones are the same; under the null the control arm is unchanged."""
    rate = "accrual: {uniform: null, rate: 30 / month}\n"
    calendar = "interims: {timing: {information: calendar, endpoint: null, final: 10 months}}\n"
    small = protocol(tmp_path, rate + calendar, "small.yaml")
    large = protocol(tmp_path, "population: {planned_enrollment: 600}\n" + rate + calendar, "large.yaml")
    a, b = simulate(small, Block(0, 40)), simulate(large, Block(0, 40))
    assert (a.n_enrolled < 400).all()
    for left, right in zip(everything(a), everything(b), strict=True):
        assert torch.equal(left.double().nan_to_num(-1.0), right.double().nan_to_num(-1.0))


def test_first_of_several_events(tmp_path: Path) -> None:
    changes = """
endpoints: {pfs: {type: time_to_event, outcomes: [progression, death], level: secondary}}
truth: {outcomes: {progression: {dist: exponential, median: 6 months}}}
"""
    record = simulate(protocol(tmp_path, changes), Block(0, 64))
    # Hazards add: progression or death at rate log 2 (1/10 + 1/6) = log 2 / 3.75 in control; more events than deaths alone.
    assert (record.n_events["pfs"] > record.n_events["os"]).all()
