"""When a cell is precise enough: the same chunks count in whatever order they come back, as brute force says, and in real runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from trialsim.errors import UsageError
from trialsim.evaluation.precision import Summary
from trialsim.evaluation.trial_values import Column
from trialsim.execution.manifest import Settings
from trialsim.execution.run import InterruptedRunError, resume_run, start_run
from trialsim.execution.status import run_status
from trialsim.execution.tasks import CellDone, ChunkDone
from trialsim.execution.until_precise import CellPrecision, PreciseQueue
from trialsim.rng import Block
from trialsim.spec import load

POWER = Column("primary", "os", None, "power", "probability")
CHUNK = 50


def chunks(n):
    return [Block(first, min(CHUNK, n - first)) for first in range(0, n, CHUNK)]


class Nature:
    """Cells of Bernoulli replicates."""

    def __init__(self, powers, n, seed=5):
        rng = np.random.default_rng(seed)
        self.n = n
        self.hits = [(rng.random(n) < power).astype(float) for power in powers]

    def summary(self, cell, chunk):
        return {POWER: Summary.of(self.hits[cell][chunk.first : chunk.first + chunk.size])}

    def needed(self, cell, target):
        """The first whole number of chunks at which the binomial standard error is small enough."""
        for end in range(CHUNK, self.n, CHUNK):
            x = self.hits[cell][:end].sum()
            p = x / end if 0 < x < end else (x + 1) / (end + 2)
            if math.sqrt(p * (1 - p) / end) <= target:
                return end
        return self.n


def work_through(queue, nature, workers, seed):
    """Workers that finish in random order; what was handed out."""
    rng, flying, handed = np.random.default_rng(seed), [], []
    while True:
        while len(flying) <= workers - 1 and (task := queue.next(workers)):
            flying.append(task)
        if not flying:
            assert not queue
            return handed
        task = flying.pop(int(rng.integers(len(flying))))
        handed.append(task)
        for chunk in () if task.evaluate else task.chunks:
            queue.observe(ChunkDone(task.cell, chunk, 0, 0.001, nature.summary(task.cell, chunk)))
        if task.evaluate:
            queue.observe(CellDone(task.cell, (), 0.1))


@pytest.mark.parametrize(("workers", "seed"), [(1, 0), (2, 1), (5, 2), (16, 3)])
def test_the_same_replicates_count_for_any_workers_and_order(workers, seed):
    nature, target = Nature([0.5, 0.9, 0.0, 0.02, 0.7], 3000), {"power": 0.0125}
    cells = [CellPrecision(chunks(3000), target) for _ in nature.hits]
    handed = work_through(PreciseQueue(cells, {cell: chunks(3000) for cell in range(5)}), nature, workers, seed)
    expected = [nature.needed(cell, 0.0125) for cell in range(5)]
    assert [cell.n_replicates for cell in cells] == expected
    assert expected[2] < expected[3] < expected[1] < expected[0] < 3000
    evaluated = [task for task in handed if task.evaluate]
    assert sorted(task.cell for task in evaluated) == list(range(5))
    assert all(task.chunks == tuple(chunks(3000)[: expected[task.cell] // CHUNK]) for task in evaluated)
    simulated = [(task.cell, chunk) for task in handed if not task.evaluate for chunk in task.chunks]
    assert len(simulated) == len(set(simulated))
    unused = sum(chunk.size for _, chunk in simulated) - sum(expected)
    assert unused <= (2 if workers == 1 else 2 + workers) * 5 * CHUNK


def test_a_cell_out_of_reach_ends_at_its_ceiling_and_its_short_last_chunk_counts():
    nature = Nature([0.5], 130)
    (cell,) = cells = [CellPrecision(chunks(130), {"power": 0.001})]
    work_through(PreciseQueue(cells, {0: chunks(130)}), nature, 1, 0)
    assert (cell.n_replicates, cell.n_needed) == (130, 3)


def test_a_cell_without_any_result_that_is_named_runs_to_its_ceiling():
    cell = CellPrecision(chunks(130), {"n_events": 1.0})
    for chunk in chunks(130):
        assert cell.n_replicates is None
        cell.add(chunk, {POWER: Summary.of(np.ones(chunk.size))})
    assert cell.n_replicates == 130


def test_stored_chunks_are_taken_up_and_gaps_are_filled():
    nature = Nature([0.5], 3000)
    (cell,) = cells = [CellPrecision(chunks(3000), {"power": 0.02})]
    there = [chunk for chunk in chunks(3000) if chunk.first in (0, 100, 150, 2000)]
    for chunk in there:
        cell.add(chunk, nature.summary(0, chunk))
    handed = work_through(PreciseQueue(cells, {0: [chunk for chunk in chunks(3000) if chunk not in there]}), nature, 1, 0)
    assert cell.n_replicates == nature.needed(0, 0.02)
    assert not {chunk for task in handed if not task.evaluate for chunk in task.chunks} & set(there)


# -- real runs of the small trial, in chunks of 64 -----------------------------------------------------------

TARGET = "target_mcse: {power: 0.025, duration: 11 days}"


@pytest.fixture
def precise(small_protocol, small_protocol_text):
    """The small trial with targets and a ceiling of 600."""
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", f"replicates: 600, {TARGET}"))
    return small_protocol


@pytest.fixture
def undisturbed(precise, run_small):
    return run_small("undisturbed")


def sizes(path):
    return [
        (cell["replicates"], cell.get("ceiling"), sum(size for _, size in cell["chunks"])) for cell in json.loads((path / "manifest.json").read_text())["cells"]
    ]


def test_a_run_stops_at_the_first_chunk_that_is_precise_enough(undisturbed):
    path, results = undisturbed
    assert sizes(path) == [(n, 600, n) for n, *_ in sizes(path)]
    for index, scenario in enumerate(("h0", "base")):
        trials = pd.read_parquet(path / "cells" / f"{index:03d}").groupby("replicate")
        power, days = trials.reject.any().to_numpy(dtype=float), trials.cut_time.last().to_numpy()

        def precise_at(n, power=power, days=days):
            return math.sqrt(power[:n].mean() * (1 - power[:n].mean()) / n) <= 0.025 and days[:n].std(ddof=1) / math.sqrt(n) <= 11.0

        expected = next(n for n in range(64, 601, 64) if 0 < power[:n].sum() < n and precise_at(n))
        assert (trials.ngroups, expected) == (expected, sizes(path)[index][0])
        rows = [row for row in results["results"] if row["scenario"] == scenario and row["look"] is None]
        assert {row["n"] for row in rows if row["measure"] in ("power", "duration", "duration_quantile_50")} == {expected}
        assert next(row["mcse"] for row in rows if row["measure"] == "power") <= 0.025
        assert next(row["mcse"] for row in rows if row["measure"] == "duration") <= 11.0
    assert sizes(path)[0][0] < sizes(path)[1][0] < 600
    status = run_status(path)
    assert (status.state, [cell.stored for cell in status.cells]) == ("complete", [n for n, *_ in sizes(path)])


def test_the_results_are_those_of_a_run_of_as_many_replicates(undisturbed, small_protocol, small_protocol_text, small_chunks, tmp_path, quiet):
    path, results = undisturbed
    small_protocol.write_text(small_protocol_text)
    study = load(small_protocol)
    assert study.sha256 == results["protocol_sha256"]
    for index, scenario in enumerate(("h0", "base")):
        n = sizes(path)[index][0]
        _, same = start_run(study, only={"scenario": scenario}, replicates=n, out=tmp_path / scenario, settings=Settings(workers=1), progress=quiet())
        assert same["results"] == [row for row in results["results"] if row["scenario"] == scenario]


@pytest.mark.parametrize("settings", [{"block_size": 7}, {"workers": 2}], ids=["block size", "pool"])
def test_same_bits_however_it_is_run(undisturbed, run_small, settings):
    path, results = run_small("again", **settings)
    assert results["results"] == undisturbed[1]["results"]
    assert sizes(path) == sizes(undisturbed[0])
    stored = [sum(1 for _ in (path / "cells" / f"{index:03d}").glob("chunk-*")) for index in range(2)]
    assert stored == [n // 64 for n, *_ in sizes(path)]


def test_same_bits_from_ray(undisturbed, run_small, ray_cluster):
    path, results = run_small("ray", executor="ray", workers=2)
    assert results["results"] == undisturbed[1]["results"]
    assert sizes(path) == sizes(undisturbed[0])


@pytest.mark.parametrize("after", [64, 192])
def test_an_interrupted_run_resumes_to_the_same_bits(undisturbed, run_small, quiet, tmp_path, after):
    class Interrupting(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            if fresh and sum(self.n) >= after:
                raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match=r"replicates are stored; continue with"):
        run_small("cut", progress=Interrupting())
    assert run_status(tmp_path / "cut").state == "incomplete"
    path, results = resume_run(tmp_path / "cut", settings=Settings(workers=1), progress=quiet())
    assert results["results"] == undisturbed[1]["results"]
    assert [n for n, _, _ in sizes(path)] == [n for n, _, _ in sizes(undisturbed[0])]


def test_a_complete_run_is_resumed_to_the_same_size_even_with_a_chunk_lost(undisturbed, quiet):
    path, results = undisturbed
    before = sizes(path)
    next((path / "cells" / "001").glob("chunk-64-*")).unlink()
    assert resume_run(path, settings=Settings(workers=1), progress=quiet())[1]["results"] == results["results"]
    assert sizes(path) == before


def test_a_run_that_met_its_ceiling_grows_to_what_it_needs(undisturbed, run_small, quiet):
    path, _ = run_small("small", replicates=150)
    assert sizes(path) == [(150, None, 150), (150, None, 150)]
    grown, results = resume_run(path, settings=Settings(workers=1), progress=quiet(), replicates=600)
    assert results["results"] == undisturbed[1]["results"]
    assert sizes(grown) == sizes(undisturbed[0])


def test_a_target_that_no_cell_has_is_refused_before_anything_is_written(small_protocol, small_protocol_text, run_small, tmp_path):
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "target_mcse: {reject_wrong_direction: 0.01}"))
    with pytest.raises(UsageError, match=r"^simulation.target_mcse.reject_wrong_direction: no cell of this run has a result reject_wrong_direction$"):
        run_small("none")
    assert not (tmp_path / "none").exists()
