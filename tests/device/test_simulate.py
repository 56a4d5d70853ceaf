"""Whole trials by the path that CUDA takes: the decisions and counts of the CPU exactly, its numbers to 1e-9."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trialsim import tensors
from trialsim.errors import NotSupportedError
from trialsim.records import AnalysisRecord, Block, TrialRecord
from trialsim.simulate import Trial, compile_trial, observe, simulate
from trialsim.spec import load

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "tests" / "benchmarks" / "protocols"
SURVIVAL = BENCHMARKS / "fixed_survival.yaml"
BLOCK = Block(100, 10)
MANY_WAYS = {
    "futility": """
interims: {timing: {fractions: [0.4, 0.7], and_at_least: {after_last_patient_in: 6 months}, not_after: 26 months}, efficacy: {boundary: pocock},
  futility: {hazard_ratio_above: [1.0, 0.95], binding: false}}
scenarios: {h0: {role: null_hypothesis}}
""",
    "strata": """
population:
  covariates: {ecog: {dist: categorical, probs: {"0": 0.4, "1": 0.6}}, age: {dist: truncated_normal, mean: 63 years, sd: 9 years, low: 18 years}, stage: {dist: categorical, probs: {ii: 0.5, iii: 0.4, iv: 0.1}}}
  correlation: {method: gaussian_copula, pairs: [[ecog, age, 0.3]]}
  eligibility: {I01: {category: inclusion, covariate: age, min: 45 years}, I02: {category: exclusion, covariate: stage, in: [iv]}}
truth:
  outcomes: {death: {dist: weibull, median: null, shape: 1.1, scale: 14 months, prognostic: {ecog: {hr: 1.5, level: "1"}, age: {hr: 1.2, per: 10 years, center: 63 years}}}}
  effects: {experimental: {death: {hr: [{until: 3 months, value: 1.0}, {value: 0.6}]}}}
accrual: {uniform: null, rate: [{until: 6 months, value: 15 / month}, {value: 30 / month}]}
randomization: {method: stratified_block, stratify_by: [ecog], block_size: [2, 4]}
analyses: {primary: {stratify_by: [ecog], estimate: cox}, adjusted: {estimand: e1, method: cox, covariates: [age, ecog], alpha: 0.025, sides: 1}}
interims: {analysis: primary}
""",
    "several arms": """
arms: {high: {type: experimental}}
truth: {effects: {high: {death: {hr: 0.6}}}}
estimands: {e2: {population: all_randomized, treatment: {test: [experimental, high], reference: control}, variable: os, summary_measure: hazard_ratio}}
randomization: {ratio: {experimental: 1, control: 1, high: 1}, block_size: 6}
analyses: {primary: {estimand: e2, multiplicity: holm, estimate: cox}}
""",
    "cured": """
truth:
  outcomes: {death: {dist: cure_mixture, median: null, cured: 0.3, uncured: {dist: piecewise_exponential, pieces: [{until: 1 month, rate: 0 / month}, {until: 3 months, rate: 0.3 / month}, {rate: 0.05 / month}]}}}
  censoring: {dropout: {dist: null, rate: null, experimental: {dist: lognormal, median: 60 months, sd_log: 1.0}}}
randomization: {method: simple, block_size: null}
interims: {timing: {final: 200}}
""",
}


def study(tmp_path: Path, changes: str):
    path = tmp_path / "protocol.yaml"
    path.write_text(f"extends: {SURVIVAL}\n{changes}")
    return load(path)


def columns(record: TrialRecord) -> dict[str, Tensor]:
    found = {name: getattr(record, name) for name in ("cut_time", "n_enrolled", "reached", "stop_look", "target_not_reached")}
    found |= {f"n_events.{name}": column for name, column in record.n_events.items()} | {
        f"n_per_arm.{name}": column for name, column in record.n_per_arm.items()
    }
    for name, analysis in record.analyses.items():
        found |= {f"{name}.{field.name}": value for field in fields(AnalysisRecord) if (value := getattr(analysis, field.name)) is not None}
    return found


def agree(here: TrialRecord, there: TrialRecord) -> None:
    expected, found = columns(here), columns(there)
    assert expected.keys() == found.keys()
    for name, column in expected.items():
        assert type(found[name]) is Tensor, name  # home again
        assert found[name].dtype == column.dtype, name
        if column.is_floating_point():
            torch.testing.assert_close(found[name], column, rtol=1e-9, atol=1e-9, equal_nan=True, msg=lambda said, name=name: f"{name}: {said}")
        else:
            assert torch.equal(found[name], column), name


def check(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    here = simulate(replace(trial, device="cpu"), BLOCK)
    sorts = []
    monkeypatch.setattr(tensors, "_sort_by_torch", lambda *given, do=tensors._sort_by_torch: sorts.append(given[0].device.type) or do(*given))
    assert observe(trial, BLOCK).enrolment.arm.device.type == "cuda"
    agree(here, simulate(trial, BLOCK))
    if any(plan.method.method == "logrank" for plan in trial.analyses.values()):
        assert set(sorts) == {"cuda"}


@pytest.mark.parametrize("changes", MANY_WAYS.values(), ids=MANY_WAYS)
def test_survival_trials(tmp_path, cuda, monkeypatch, changes):
    found = study(tmp_path, changes)
    check(compile_trial(found.cells()[0], found.directory, device="cuda"), monkeypatch)


@pytest.mark.parametrize("protocol", ["fixed_survival", "group_sequential", "continuous", "fitted_cohort"])
def test_the_benchmarks(cuda, monkeypatch, protocol):
    found = load(BENCHMARKS / f"{protocol}.yaml")
    trial = compile_trial(found.cells()[0], found.directory)
    check(replace(trial, device="cuda"), monkeypatch)


@pytest.mark.parametrize("protocol", ["oncology_group_sequential", "actg175"])
def test_the_trials_that_come_with_it(cuda, monkeypatch, protocol):
    found = load(ROOT / "trials" / f"{protocol}.yaml")
    trial = compile_trial(found.cells({"scenario": "base"})[0], found.directory)
    check(replace(trial, device="cuda"), monkeypatch)


def test_outcomes_and_endpoints_of_every_kind(cuda, monkeypatch):
    found = load(ROOT / "tests" / "specs" / "valid" / "endpoints_of_every_kind.yaml")
    trial = compile_trial(found.cells()[0], found.directory)
    check(replace(trial, device="cuda"), monkeypatch)


@pytest.mark.parametrize(
    "changes, named",
    [
        ("truth: {outcomes: {death: {dist: gamma, median: null, shape: 2, mean: 12 months}}}", "truth.outcomes.death: the gamma law on --device cuda"),
        ("population: {covariates: {share: {dist: beta, alpha: 2, beta: 3}}}", "population.covariates.share: the beta law on --device cuda"),
    ],
)
def test_a_law_without_an_inverse_there_is_named(tmp_path, changes, named):
    found = study(tmp_path, changes)
    compile_trial(found.cells()[0], found.directory)
    with pytest.raises(NotSupportedError, match=named.replace(".", r"\.")):
        compile_trial(found.cells()[0], found.directory, device="cuda")
