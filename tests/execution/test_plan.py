"""A plan against the run it plans: the same cells, replicates, bytes and precision; times only have a sign."""

from __future__ import annotations

import json

import pytest

from trialsim.errors import ProtocolError, UsageError
from trialsim.evaluation.results import CellLabels
from trialsim.execution.pilot import fly
from trialsim.execution.plan import plan_run
from trialsim.simulate import compile_trial
from trialsim.spec import load


def test_without_targets_every_replicate_is_planned(small_protocol):
    plan = plan_run(load(small_protocol), only={}, workers=2)
    assert [(cell.scenario, cell.replicates, cell.ceiling, cell.binds, cell.target_mcse) for cell in plan.cells] == [
        ("h0", 200, 200, "replicates", ()),
        ("base", 200, 200, "replicates", ()),
    ]
    assert (plan.replicates, plan.workers) == (400, 2)
    assert 0.0 < max(cell.seconds for cell in plan.cells) <= plan.wall_seconds <= plan.seconds
    assert plan.seconds == pytest.approx(sum(cell.seconds for cell in plan.cells))
    assert 1e8 < plan.memory_bytes < 1e11
    json.dumps(plan.as_dict(), allow_nan=False)


def test_the_disk_it_foretells_is_the_disk_the_run_takes(run_small, small_protocol):
    path, _ = run_small("run", replicates=640)
    plan = plan_run(load(small_protocol), only={}, replicates=640)
    for index, cell in enumerate(plan.cells):
        taken = sum(file.stat().st_size for file in (path / "cells" / f"{index:03d}").glob("chunk-*"))
        assert cell.disk_bytes == pytest.approx(taken, rel=0.15)


def test_targets_are_foretold(run_small, small_protocol, small_protocol_text):
    """A pilot of some hundred to 1,024 x 3 replicates knows p(1 - p) to a few per cent; the run must agree to two chunks of 64."""
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "replicates: 1500, target_mcse: {power: 0.015, duration: 30 days}"))
    path, results = run_small("run")
    plan = plan_run(load(small_protocol), only={})
    made = [cell["replicates"] for cell in json.loads((path / "manifest.json").read_text())["cells"]]
    h0, base = plan.cells
    assert (h0.replicates, h0.ceiling, h0.binds, base.binds) == (made[0], 1500, "target_mcse", "target_mcse")
    assert abs(base.replicates - made[1]) <= 128
    power = next(target for target in base.target_mcse if target.measure == "power")
    reached = next(row["mcse"] for row in results["results"] if (row["scenario"], row["measure"], row["look"]) == ("base", "power", None))
    assert power.expected_mcse == pytest.approx(reached, rel=0.06)
    assert power.expected_mcse <= power.target == 0.015
    assert base.replicates - 64 < power.replicates_needed <= base.replicates
    assert next(target for target in base.target_mcse if target.measure == "duration").replicates_needed < 100


def test_a_target_out_of_reach_ends_at_the_ceiling(small_protocol, small_protocol_text):
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "replicates: 200, target_mcse: {power: 0.001}"))
    (base,) = plan_run(load(small_protocol), only={"scenario": "base"}).cells
    assert (base.replicates, base.binds) == (200, "replicates")
    assert base.target_mcse[0].replicates_needed > 100_000
    assert base.target_mcse[0].expected_mcse == pytest.approx(0.035, abs=0.002)


def test_what_a_run_refuses_a_plan_refuses(small_protocol, small_protocol_text):
    with pytest.raises(UsageError, match="no scenario"):
        plan_run(load(small_protocol), only={"scenario": "bass"})
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "target_mcse: {reject_wrong_direction: 0.01}"))
    with pytest.raises(UsageError, match="no cell of this run has a result reject_wrong_direction"):
        plan_run(load(small_protocol), only={})
    small_protocol.write_text(small_protocol_text.replace("seed: 11, ", ""))
    with pytest.raises(ProtocolError, match="a run needs it"):
        plan_run(load(small_protocol), only={})


def test_a_slow_trial_gets_a_small_pilot_and_the_median_block_counts(small_protocol):
    """A clock that runs a thousand times too fast: blocks of 16, and seconds in proportion."""
    import time

    (cell,) = load(small_protocol).cells({"scenario": "base"})
    trial, labels = compile_trial(cell, small_protocol.parent), CellLabels("default", "base", "alternative")
    slow = fly(trial, labels, clock=lambda: 1000.0 * time.perf_counter())
    fast = fly(trial, labels)
    assert slow.n == 48
    assert fast.n >= 48
    assert slow.seconds_per_replicate > 50 * fast.seconds_per_replicate
    assert slow.seconds(2000) > slow.seconds(1000) > slow.seconds_per_cell
