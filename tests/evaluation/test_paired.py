"""Paired differences against NumPy on the raw values of both designs, and their MCSE against repetition under many seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trialsim.evaluation.paired import PairedDifferences
from trialsim.evaluation.trial_values import AnalysisLabels, trial_values
from trialsim.execution.comparisons import analysis_labels
from trialsim.rng import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

ANALYSES = {"primary": AnalysisLabels("primary", "os", None, 1, "log_hazard_ratio")}


def paired(pairs):
    differences = PairedDifferences("base", "alternative", ANALYSES, ANALYSES)
    for a, b in pairs:
        differences.add(a, b)
    return {(row.measure, row.arm): row for row in differences.rows()}


@pytest.fixture(scope="module")
def records(synthetic_record):
    """Two made-up designs of 300 replicates in chunks of 128, and as one chunk; the second has failures."""

    def both(block):
        return synthetic_record(block, seed=1, failure_rate=0.05), synthetic_record(block, seed=2, failure_rate=0.1)

    return [both(Block(first, min(128, 300 - first))) for first in (0, 128, 256)], both(Block(0, 300))


def test_rows_are_what_numpy_says_of_the_raw_values(records):
    chunks, whole = records
    found = paired(chunks)
    values = [{(column.measure, column.arm): array for column, array in trial_values(record, ANALYSES).items()} for record in whole]
    assert set(found) == set(values[0])
    for key, row in found.items():
        a, b = values[0][key], values[1][key]
        both = ~np.isnan(a) & ~np.isnan(b)
        a, b = a[both], b[both]
        assert (row.n, row.n_unpaired) == (both.sum(), 300 - both.sum())
        assert (row.a, row.b) == (pytest.approx(a.mean(), rel=1e-12), pytest.approx(b.mean(), rel=1e-12))
        assert row.difference == pytest.approx((a - b).mean(), rel=1e-9, abs=1e-12)
        assert row.mcse == pytest.approx((a - b).std(ddof=1) / math.sqrt(len(a)), rel=1e-9)
        independent = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
        assert row.independent_mcse == pytest.approx(independent, rel=2e-3)  # shares: with n instead of n - 1
        assert row.mcse_ratio == pytest.approx(row.independent_mcse / row.mcse)
        assert row.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert found["estimate_mean", None].n_unpaired > 10


def test_the_common_replicates_of_unequal_chunks_count(records):
    (first, *_), _ = records
    a, b = first
    shorter = replace(
        b,
        block=Block(0, 50),
        **{name: getattr(b, name)[:50] for name in ("cut_time", "n_enrolled", "reached", "stop_look", "target_not_reached")},
        n_events={name: count[:50] for name, count in b.n_events.items()},
        n_per_arm={name: count[:50] for name, count in b.n_per_arm.items()},
        analyses={
            name: replace(analysis, **{field: column[:50] for field in analysis.__dataclass_fields__ if (column := getattr(analysis, field)) is not None})
            for name, analysis in b.analyses.items()
        },
    )
    expected = trial_values(a, ANALYSES), trial_values(b, ANALYSES)
    power = next(column for column in expected[0] if column.measure == "power")
    row = paired([(a, shorter)])["power", None]
    assert row.n == 50
    assert row.difference == pytest.approx((expected[0][power][:50] - expected[1][power][:50]).mean())


def test_designs_that_never_differ_have_no_zero_mcse_where_a_share_is_concerned(records):
    (first, *_), _ = records
    found = paired([(first[0], first[0])])
    power, duration = found["power", None], found["duration", None]
    assert (power.difference, duration.difference) == (0.0, 0.0)
    assert power.mcse == pytest.approx(math.sqrt(1 / 130 * 129 / 130 / 128))
    assert (duration.mcse, duration.mcse_ratio) == (0.0, None)
    assert duration.correlation == pytest.approx(1.0)


def test_one_pair_gives_no_rows(synthetic_record):
    record = synthetic_record(Block(0, 1))
    assert paired([(record, record)]) == {}


SEEDS, REPLICATES = 60, 128


def test_the_mcse_of_the_difference_is_its_standard_deviation_over_seeds(small_protocol, small_protocol_text):
    """Over 60 seeds, the SD of each difference is within 4 of its own MCSEs, SD / sqrt(2 (60 - 1)), of the mean paired MCSE;
    the standard error of independent simulation is not."""
    small_protocol.write_text(small_protocol_text.replace("final: 40", "final: $events").replace("{hr: 0.55}", "{hr: 0.55, events: 40}"))
    torch.set_num_threads(1)
    cells = [next(cell for cell in load(small_protocol, sets={"events": events}).cells() if cell.scenario == "base") for events in ("40", "34")]
    trials = [compile_trial(cell, small_protocol.parent) for cell in cells]
    labels = analysis_labels(trials[0].analyses)
    rows: dict[str, list] = {}
    for seed in range(100, 100 + SEEDS):
        differences = PairedDifferences("base", "alternative", labels, labels)
        differences.add(*(simulate(replace(trial, seed=seed), Block(0, REPLICATES)) for trial in trials))
        for row in differences.rows():
            rows.setdefault(row.measure, []).append(row)
    for measure in ("power", "duration", "estimate_mean", "n_enrolled"):
        found = rows[measure]
        sd = np.std([row.difference for row in found], ddof=1)
        of_sd = sd / math.sqrt(2 * (SEEDS - 1))
        assert abs(sd - np.mean([row.mcse for row in found])) < 4 * of_sd, measure
        if measure in ("power", "estimate_mean"):
            assert np.mean([row.independent_mcse for row in found]) - sd > 4 * of_sd, measure
