"""Units of work for an executor, and the work itself.

    TaskQueue ──► Task ──► perform(workshop, task) ──► ChunkDone, … or CellDone ──► TaskQueue.observe

A task is some chunks of a cell to simulate or, once all chunks of a cell are stored, the cell to evaluate and to keep single
trials of. The worker writes each chunk itself; only a small summary returns. Tasks grow from one chunk until they last some
seconds, but never so much that workers would run dry at the end. Evaluation comes after the last chunk has been handed out.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from trialsim.errors import IncompleteRunError
from trialsim.evaluation.decisions import rejections
from trialsim.evaluation.precision import Summaries, summarise
from trialsim.evaluation.results import ResultRow
from trialsim.execution.chunks import block_size_for, concatenate, simulate_chunk
from trialsim.execution.comparisons import analysis_labels
from trialsim.execution.device import require_device
from trialsim.execution.evaluate import evaluate_cell
from trialsim.execution.keep import keep_trials
from trialsim.execution.manifest import PlannedCell, engine_versions
from trialsim.execution.store import DamagedChunkError, RunDirectory
from trialsim.records import TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, simulate

TASK_SECONDS = 5.0
MOST_CHUNKS = 64


@dataclass(frozen=True)
class Workshop:
    """What every worker needs, sent to it once: the compiled cells and where to store their chunks.

    `begun`: stored chunks that were the short last ones of a smaller run, by cell and first replicate; they are carried on.
    `engine`: what the run's numbers are computed with; a worker that has something else refuses.
    """

    cells: tuple[PlannedCell, ...]
    trials: tuple[Trial, ...]
    directory: RunDirectory
    block_size: int | None
    engine: Mapping[str, str]
    begun: Mapping[tuple[int, int], Block] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """Consecutive chunks of a cell to simulate; or all of them, to evaluate the cell."""

    cell: int
    chunks: tuple[Block, ...]
    evaluate: bool = False


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """A chunk that is stored: its replicates, how many of them rejected (first analysis), how long it took; what targets of precision need."""

    cell: int
    chunk: Block
    rejected: int
    seconds: float
    summaries: Summaries = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellDone:
    """A cell that is evaluated."""

    cell: int
    rows: tuple[ResultRow, ...]
    seconds: float


Done = ChunkDone | CellDone


def perform(workshop: Workshop, task: Task, stop: Callable[[], bool] | None = None) -> Iterator[Done]:
    """Simulate and store the chunks of a task one by one, or evaluate. Torch keeps to one thread, so that sums keep their order."""
    torch.set_num_threads(1)
    cell, trial = workshop.cells[task.cell], workshop.trials[task.cell]
    require_device(trial.device)
    require_engine(workshop.engine, trial.device)
    if task.evaluate:
        start = time.perf_counter()
        cell = replace(cell, replicates=sum(chunk.size for chunk in task.chunks))
        rows = evaluate_cell(workshop.directory, task.cell, cell, trial, task.chunks)
        keep_trials(workshop.directory, task.cell, cell, trial, task.chunks)
        yield CellDone(task.cell, tuple(rows), time.perf_counter() - start)
        return
    for chunk in task.chunks:
        start = time.perf_counter()
        record = _simulated(workshop, task.cell, chunk, stop)
        workshop.directory.write_chunk(task.cell, cell.key, record)
        yield ChunkDone(task.cell, chunk, n_rejected(record), time.perf_counter() - start, precision_of(trial, record))


def _simulated(workshop: Workshop, index: int, chunk: Block, stop: Callable[[], bool] | None) -> TrialRecord:
    """The chunk's trials: those that are stored under a shorter chunk as they are, the others simulated."""
    cell, trial = workshop.cells[index], workshop.trials[index]
    begun, records = workshop.begun.get((index, chunk.first)), []
    if begun is not None:
        with suppress(DamagedChunkError):
            records.append(workshop.directory.read_chunk(index, cell.key, begun))
            chunk = Block(begun.first + begun.size, chunk.size - begun.size)
    size = workshop.block_size or block_size_for(trial.n, trial.device)
    try:
        records.append(simulate_chunk(lambda block: simulate(trial, block), chunk, block_size=size, stop=stop))
    except torch.cuda.OutOfMemoryError:
        raise IncompleteRunError(f"the memory of the GPU is too small for blocks of {size} trials: use --block-size {max(1, size // 4)}") from None
    return concatenate(records)


def require_engine(engine: Mapping[str, str], device: str = "cpu") -> None:
    """IncompleteRunError on a machine whose numbers would not be those of the run, to the bit."""
    here = engine_versions(device)
    other = [f"{name} {here.get(name)} (the run: {wanted})" for name, wanted in engine.items() if name != "python" and here.get(name) != wanted]
    if other:
        hint = "; set ATEN_CPU_CAPABILITY to the lesser of both on every machine" if "instructions" in other[-1] else ""
        raise IncompleteRunError(f"a worker on {socket.gethostname()} has {', '.join(other)}; its numbers could not be the same to the bit{hint}")


def precision_of(trial: Trial, record: TrialRecord) -> Summaries:
    """Of a chunk, what `simulation.target_mcse` is decided from; nothing where there are no targets."""
    return summarise(record, analysis_labels(trial.analyses, trial.families), frozenset(trial.target_mcse))


def n_rejected(record: TrialRecord) -> int:
    """In how many trials the first analysis declared efficacy (in either direction)."""
    for analysis in record.analyses.values():
        return int(np.count_nonzero(rejections(analysis, 2).any(axis=1)))
    return 0


class TaskQueue:
    """Hands out the chunks that are missing, cell by cell, in tasks of a useful length; then the cells."""

    def __init__(self, cells: Sequence[Sequence[Block]], missing: Mapping[int, Sequence[Block]]):
        self._chunks = deque((cell, chunk) for cell, chunks in missing.items() for chunk in chunks)
        self._unstored = {cell: len(missing.get(cell, ())) for cell in range(len(cells))}
        self._unevaluated = deque(Task(cell, tuple(chunks), evaluate=True) for cell, chunks in enumerate(cells))
        self.replicates_left = sum(chunk.size for _, chunk in self._chunks)
        self.cells_left = len(cells)
        self._simulated = self._evaluated = 0
        self._simulating = self._evaluating = 0.0

    def __bool__(self) -> bool:
        """Whether anything is still to be handed out."""
        return bool(self._chunks or self._unevaluated)

    def observe(self, done: Done) -> None:
        """Learns what is finished, and how long it took."""
        if isinstance(done, CellDone):
            self.cells_left -= 1
            self._evaluated += 1
            self._evaluating += done.seconds
            return
        self._unstored[done.cell] -= 1
        self.replicates_left -= done.chunk.size
        self._simulated += done.chunk.size
        self._simulating += done.seconds

    def seconds_left(self) -> float:
        """How long one worker would take for everything not yet finished, as far as is known."""
        simulating = self._simulating / self._simulated * self.replicates_left if self._simulated else 0.0
        return simulating + (self._evaluating / self._evaluated * self.cells_left if self._evaluated else 0.0)

    def next(self, workers: int) -> Task | None:
        """The next task for one of so many workers; None when there is none, or none before some more is finished."""
        if self._chunks:
            return self._next_chunks(workers)
        if self._unevaluated and self._unstored[self._unevaluated[0].cell] == 0:
            return self._unevaluated.popleft()
        return None

    def _next_chunks(self, workers: int) -> Task:
        size = 1
        if self._simulated:
            chunk_seconds = self._simulating / self._simulated * self._chunks[0][1].size
            fair = len(self._chunks) // (4 * workers)
            size = max(1, min(int(TASK_SECONDS / max(chunk_seconds, 1e-9)), fair, MOST_CHUNKS))
        cell, chunk = self._chunks.popleft()
        chunks = [chunk]
        while len(chunks) < size and self._chunks and self._chunks[0][0] == cell:
            chunks.append(self._chunks.popleft()[1])
        return Task(cell, tuple(chunks))
