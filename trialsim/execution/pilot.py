"""What a cell costs and how precise it gets, measured on a few hundred of its own replicates.

A pilot does what a run does, once: it simulates a few blocks, stores them in a temporary directory, reads and evaluates them.
Times are of this machine and of one core; the median of the blocks counts, and the first one (which warms the caches) does not.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from trialsim.evaluation.operating_characteristics import median_duration, operating_characteristics, size_quantiles
from trialsim.evaluation.precision import TARGETS, Summary, summarise
from trialsim.evaluation.results import CellLabels
from trialsim.evaluation.trial_values import Column
from trialsim.execution import chunks
from trialsim.execution.chunks import block_size_for, concatenate
from trialsim.execution.comparisons import analysis_labels, comparisons_of
from trialsim.execution.store import RunDirectory
from trialsim.records import AnalysisRecord, TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, simulate, true_values

BLOCKS = 3
BLOCK_SECONDS = 0.5
"""How long a block of the pilot may take; a slow trial gets smaller blocks."""
WARM_UP = 16
COPIES = 4
"""How often a chunk is in memory when it is stored: its blocks, their concatenation, the table and its encoding."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pilot:
    """Seconds and bytes: by replicate, by chunk, by cell. `summaries` are of the first `n` replicates."""

    n: int
    seconds_per_replicate: float
    seconds_per_chunk: float
    seconds_per_cell: float
    bytes_per_replicate: float
    bytes_per_chunk: float
    chunk_memory: int
    summaries: dict[Column, Summary]

    def seconds(self, replicates: int) -> float:
        """Of a cell with so many replicates, evaluation included."""
        return self.seconds_per_cell + self.seconds_per_chunk * n_chunks(replicates) + self.seconds_per_replicate * replicates

    def bytes(self, replicates: int) -> int:
        """Of its chunks on disk."""
        return round(self.bytes_per_chunk * n_chunks(replicates) + self.bytes_per_replicate * replicates)


def n_chunks(replicates: int) -> int:
    """The chunks of so many replicates."""
    return -(-replicates // chunks.CHUNK)


def fly(trial: Trial, labels: CellLabels, *, block_size: int | None = None, clock: Callable[[], float] = time.perf_counter) -> Pilot:
    """The pilot of a cell."""

    def timed(work: Callable[[], T]) -> tuple[T, float]:
        start = clock()
        return work(), clock() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        small = simulate(trial, Block(0, WARM_UP))
        _, warm = timed(lambda: simulate(trial, Block(0, WARM_UP)))
        most = block_size or block_size_for(trial.n, trial.device)
        size = WARM_UP * max(1, min(most, int(BLOCK_SECONDS / max(warm / WARM_UP, 1e-9))) // WARM_UP)
        blocks = [timed(partial(simulate, trial, Block(first, size))) for first in range(0, BLOCKS * size, size)]
        record = concatenate([block for block, _ in blocks])
        n, simulating = record.block.size, statistics.median(seconds for _, seconds in blocks) / size
        with tempfile.TemporaryDirectory(prefix="trialsim-plan-") as folder:
            directory = RunDirectory(Path(folder))
            of_small, of_all = (_stored(directory, index, item, timed) for index, item in enumerate((small, record)))
            rate, fixed = _line(WARM_UP, of_small[0], n, of_all[0])
            byte_rate, byte_fixed = _line(WARM_UP, of_small[1], n, of_all[1])

            def records() -> list[TrialRecord]:
                return [directory.read_chunk(1, "pilot", record.block)]

            endpoints = [name for name, endpoint in trial.endpoints.items() if endpoint.is_event]
            quantiles, ranking = timed(lambda: size_quantiles(records, endpoints, n))
            truths, truth = timed(lambda: true_values(trial, median_duration(quantiles)))
            comparisons = comparisons_of(trial, truths)
            _, evaluating = timed(lambda: operating_characteristics(records, labels=labels, comparisons=comparisons, quantiles=quantiles))
    finally:
        torch.set_num_threads(threads)
    return Pilot(
        n=n,
        seconds_per_replicate=simulating + rate + (ranking + evaluating) / n,
        seconds_per_chunk=fixed,
        seconds_per_cell=truth,
        bytes_per_replicate=byte_rate,
        bytes_per_chunk=byte_fixed,
        chunk_memory=round(COPIES * _held(record) * chunks.CHUNK / n),
        summaries=summarise(record, analysis_labels(trial.analyses, trial.families), frozenset(TARGETS)),
    )


def peak_memory() -> int:
    """The most memory this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _stored(directory: RunDirectory, index: int, record: TrialRecord, timed: Callable[[Callable[[], None]], tuple[None, float]]) -> tuple[float, int]:
    """How long it takes to store a chunk (median of three), and its size."""
    seconds = statistics.median(timed(lambda: directory.write_chunk(index, "pilot", record))[1] for _ in range(3))
    return seconds, len(directory.storage.read(directory.chunk_name(index, "pilot", record.block)))


def _line(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float]:
    """Slope and intercept, neither negative."""
    slope = max(0.0, (y2 - y1) / (x2 - x1))
    return slope, max(0.0, y1 - slope * x1)


def _held(record: TrialRecord) -> int:
    """Bytes of a record."""
    columns: list[Any] = [record.cut_time, record.n_enrolled, record.reached, record.stop_look, record.target_not_reached]
    columns += [*record.n_events.values(), *record.n_per_arm.values()]
    columns += [getattr(analysis, field.name) for analysis in record.analyses.values() for field in fields(AnalysisRecord)]
    return sum(column.numel() * column.element_size() for column in columns if isinstance(column, Tensor))
