"""Units of work for an executor, and the work itself.

    TaskQueue ──► Task (a cell, some chunks) ──► perform(workshop, task) ──► ChunkDone, … ──► TaskQueue.observe

The worker writes each chunk itself; only a small summary returns. Tasks grow from one chunk until they last some seconds,
but never so much that workers would run dry at the end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from trialsim.evaluation.decisions import rejections
from trialsim.execution.chunks import simulate_chunk
from trialsim.execution.store import RunDirectory
from trialsim.records import TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, simulate

TASK_SECONDS = 5.0
MOST_CHUNKS = 64


@dataclass(frozen=True)
class Workshop:
    """What every worker needs, sent to it once: the compiled cells and where to store their chunks."""

    trials: tuple[Trial, ...]
    hashes: tuple[str, ...]
    directory: RunDirectory
    block_size: int


@dataclass(frozen=True, slots=True)
class Task:
    """Consecutive chunks of a cell."""

    cell: int
    chunks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """A chunk that is stored: its replicates, how many of them rejected (first analysis), how long it took."""

    cell: int
    chunk: Block
    rejected: int
    seconds: float


def perform(workshop: Workshop, task: Task, stop: Callable[[], bool] | None = None) -> Iterator[ChunkDone]:
    """Simulate and store the chunks of a task, one by one. Torch keeps to one thread, so that sums keep their order."""
    torch.set_num_threads(1)
    trial = workshop.trials[task.cell]
    for chunk in task.chunks:
        start = time.perf_counter()
        record = simulate_chunk(lambda block: simulate(trial, block), chunk, block_size=workshop.block_size, stop=stop)
        workshop.directory.write_chunk(task.cell, workshop.hashes[task.cell], record)
        yield ChunkDone(task.cell, chunk, n_rejected(record), time.perf_counter() - start)


def n_rejected(record: TrialRecord) -> int:
    """In how many trials the first analysis declared efficacy (in either direction)."""
    for analysis in record.analyses.values():
        return int(np.count_nonzero(rejections(analysis, 2).any(axis=1)))
    return 0


class TaskQueue:
    """Hands out the chunks that are missing, cell by cell, in tasks of a useful length."""

    def __init__(self, missing: Mapping[int, list[Block]]):
        self._chunks = deque((cell, chunk) for cell, chunks in missing.items() for chunk in chunks)
        self.replicates_left = sum(chunk.size for _, chunk in self._chunks)
        self._seconds = 0.0
        self._replicates = 0

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def observe(self, done: ChunkDone) -> None:
        """Learns from a finished chunk how long chunks take."""
        self._seconds += done.seconds
        self._replicates += done.chunk.size
        self.replicates_left -= done.chunk.size

    def seconds_left(self) -> float | None:
        """How long one worker would take for everything not yet finished; None before the first chunk."""
        return self._seconds / self._replicates * self.replicates_left if self._replicates else None

    def next(self, workers: int) -> Task | None:
        """The next task for one of so many workers; None when nothing is left to hand out."""
        if not self._chunks:
            return None
        size = 1
        if self._replicates:
            chunk_seconds = self._seconds / self._replicates * self._chunks[0][1].size
            fair = len(self._chunks) // (4 * workers)
            size = max(1, min(int(TASK_SECONDS / max(chunk_seconds, 1e-9)), fair, MOST_CHUNKS))
        cell, chunk = self._chunks.popleft()
        chunks = [chunk]
        while len(chunks) < size and self._chunks and self._chunks[0][0] == cell:
            chunks.append(self._chunks.popleft()[1])
        return Task(cell, tuple(chunks))
