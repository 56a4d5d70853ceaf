"""Decisions that must agree between protocols which ask the same of the same trials: several arms, families, looks of other analyses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trialsim.evaluation.decisions import ComparisonDecisions
from trialsim.evaluation.results import CellLabels
from trialsim.execution.comparisons import comparisons_of
from trialsim.records import AnalysisRecord, Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

EVENTS = """\
spec: trialsim/1
study: {id: EV}
arms: {p: {type: placebo_comparator}, l: {type: experimental}, h: {type: experimental}}
population: {planned_enrollment: 300}
endpoints: {os: {type: time_to_event, outcome: d}}
truth: {outcomes: {d: {dist: exponential, median: 12 months}}, censoring: {dropout: {dist: exponential, rate: 0.025 / month}}}
accrual: {uniform: 12 months}
randomization: {method: permuted_block, block_size: 6}
looks: {i1: {when: {events: EARLY, endpoint: os}}, f: {when: {events: 230, endpoint: os}}}
analyses:
  two: {endpoint: os, treatment: {test: l, reference: p}, method: logrank, sides: 1, looks: [i1, f], efficacy: {spending: lan_demets_pocock}}
  all: {endpoint: os, treatment: {test: [l, h], reference: p}, method: logrank, sides: 1, looks: [i1, f], efficacy: {spending: lan_demets_pocock}}
scenarios: {h0: {role: null_hypothesis}}
simulation: {seed: 5, replicates: 3000}
"""
FUTILITY = """\
spec: trialsim/1
study: {id: FUT}
arms: {p: {type: placebo_comparator}, l: {type: experimental}}
population: {planned_enrollment: 100}
visits: {w4: {at: 4 weeks}}
endpoints: {y: {type: continuous, outcome: y, at: w4}, x: {type: continuous, outcome: x, at: w4}}
truth:
  outcomes: {y: {dist: normal, mean: 0, sd: 1}, x: {dist: normal, mean: 0, sd: 1}}
  effects: {l: {y: {difference: 0.5}, x: {difference: 1}}}
accrual: {uniform: 6 months}
randomization: {method: permuted_block, block_size: 4}
looks:
  i1: {when: {completers: 30, at_visit: w4}}
  i2: {when: {completers: 60, at_visit: w4}}
  f: {when: {completers: 100, at_visit: w4}}
analyses:
  a: {endpoint: y, treatment: {test: l, reference: p}, method: t_test, sides: 1, looks: [i1, i2], futility: {z: [1.5]}}
  b: {endpoint: x, treatment: {test: l, reference: p}, method: t_test, sides: 1, looks: [i1, f]}
multiplicity: {fam: {members: [a, b], alpha: 0.025, procedure: PROCEDURE}}
scenarios: {told: {role: null_hypothesis}, not_told: {role: alternative}}
simulation: {seed: 5, replicates: 3000}
"""
EARLY_END = """\
spec: trialsim/1
study: {id: END}
arms: {p: {type: placebo_comparator}, l: {type: experimental}}
population: {planned_enrollment: 200}
endpoints: {os: {type: time_to_event, outcome: d}}
truth: {outcomes: {d: {dist: exponential, median: 12 months}}, censoring: {dropout: {dist: exponential, rate: 0.025 / month}}}
accrual: {uniform: 12 months}
randomization: {method: permuted_block, block_size: 4}
looks: {i1: {when: {events: 60, endpoint: os}}, i2: {when: {events: 155, endpoint: os}}, f: {when: {events: 158, endpoint: os}}}
analyses:
  a: {endpoint: os, treatment: {test: l, reference: p}, method: logrank, sides: 1, looks: [i1, f]RULE}
  b: {endpoint: os, treatment: {test: l, reference: p}, method: logrank, sides: 1, looks: [i1, i2, f]}
scenarios: {h0: {role: null_hypothesis}}
simulation: {seed: 5, replicates: 3000}
"""


def _records(folder: Path, text: str, n: int = 3_000) -> dict[str, dict[str, AnalysisRecord]]:
    """By scenario and analysis."""
    path = folder / "p.yaml"
    path.write_text(text)
    study = load(path)
    study.require_runnable()
    return {cell.scenario: dict(simulate(compile_trial(cell, study.directory), Block(0, n)).analyses) for cell in study.cells()}


@pytest.mark.parametrize("early", [100, 185])
def test_a_comparison_of_two_arms_of_three_is_that_of_the_analysis_of_all(tmp_path, early):
    """About 209 of the 230 events ever happen: what counts at the last look are the events of the trial, as at the first."""
    found = _records(tmp_path, EVENTS.replace("EARLY", str(early)))["h0"]
    alone, among = found["two"], found["all:l"]
    assert torch.equal(alone.reject, among.reject)
    assert torch.equal(alone.efficacy_z.nan_to_num(9.0), among.efficacy_z.nan_to_num(9.0))
    assert alone.efficacy_z[:, 1].unique().numel() > 10, "the target is missed by different numbers"


@pytest.mark.parametrize("procedure", ["fixed_sequence", "holm", "fallback"])
def test_what_futility_dropped_decides_nothing_more(tmp_path, procedure):
    """Whether the scenario is told to count what futility hid must not change what the trials decide."""
    found = _records(tmp_path, FUTILITY.replace("PROCEDURE", procedure))
    for name in ("a", "b"):
        assert torch.equal(found["told"][name].reject, found["not_told"][name].reject)
    dropped = found["told"]["a"].futile.any(-1)
    assert dropped.any()
    assert not found["told"]["a"].reject[dropped].any()


def test_futility_is_ignored_where_the_trial_ends_at_the_look_of_another_analysis(tmp_path):
    with_rule = _records(tmp_path, EARLY_END.replace("RULE", ", futility: {z: [0.5]}"))["h0"]["a"]
    without = _records(tmp_path, EARLY_END.replace("RULE", ""))["h0"]["a"]
    assert with_rule.futile.any()
    assert torch.equal(with_rule.ignoring_futility, without.reject.any(-1))


def test_a_parametric_graph_waits_for_the_last_look(tmp_path):
    text = FUTILITY.replace("PROCEDURE", "{graph: {weights: {a: 0.5, b: 0.5}, transitions: {a: {b: 1}, b: {a: 1}}}, test: parametric}")
    text = text.replace("looks: [i1, i2], futility: {z: [1.5]}", "looks: [i1, f]")
    for found in _records(tmp_path, text, 500).values():
        assert not found["a"].reject[:, 0].any()
        assert found["b"].reject[:, 2].any()


def test_the_looks_at_which_a_hypothesis_is_rejected_add_up_to_its_power(tmp_path):
    """Holm hands `a` alpha after its own last look, when `b` is rejected at the end."""
    path = tmp_path / "p.yaml"
    path.write_text(FUTILITY.replace("PROCEDURE", "holm"))
    study = load(path)
    cell = study.cells({"scenario": "not_told"})[0]
    trial = compile_trial(cell, study.directory)
    record = simulate(trial, Block(0, 3_000))
    comparison = comparisons_of(trial, {"a": None, "b": None})["a"]
    decisions = ComparisonDecisions(comparison)
    decisions.add(record, record.analyses["a"])
    rows = list(decisions.rows(CellLabels("default", "not_told", "alternative")))
    by_look = {row.look: row.estimate for row in rows if row.measure == "reject"}
    assert by_look[3] > 0
    assert sum(by_look.values()) == pytest.approx(next(row.estimate for row in rows if row.measure == "power"))
