"""Simulating until it is precise enough: which chunks to hand out next, and how many of a cell's count.

A cell is complete after the first whole number of chunks at which every measure named in `simulation.target_mcse` is as
precise as asked, or at its ceiling, its number of replicates. The decision looks at chunks in replicate order, whoever
simulated them and whenever they came back: the same replicates count for any executor, number of workers, or resume.

What is handed out is only a guess at what will be needed: of each cell one chunk, then most of what its precision so far
says is missing, and, when a worker would otherwise stand idle, a few chunks more. What turns out not to be needed does not
count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from trialsim.errors import UsageError
from trialsim.evaluation.precision import Summaries, mcse_so_far, merge, shortfall, summarise
from trialsim.execution.comparisons import analysis_labels
from trialsim.execution.tasks import MOST_CHUNKS, TASK_SECONDS, CellDone, Done, Task, TaskQueue
from trialsim.rng import Block
from trialsim.simulate import Trial, simulate

CAUTION = 0.9
"""The part of the replicates that seem to be missing which is handed out before looking again."""
TRIED = 16


@dataclass(slots=True)
class CellPrecision:
    """One cell on its way to its targets. `chunks` are those up to its ceiling."""

    chunks: Sequence[Block]
    targets: Mapping[str, float]
    n_merged: int = 0
    n_needed: int | None = None
    """How many of the chunks count; None until that is known."""
    factor: float = math.inf
    """How many times as many replicates as are merged seem to be needed."""
    _merged: Summaries = field(default_factory=dict)
    _waiting: dict[int, Summaries] = field(default_factory=dict)
    _place: dict[Block, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._place = {chunk: place for place, chunk in enumerate(self.chunks)}

    def add(self, chunk: Block, summaries: Summaries) -> None:
        """A chunk is stored."""
        self._waiting[self._place[chunk]] = summaries
        while self.n_needed is None and self.n_merged in self._waiting:
            self._merged = merge(self._merged, self._waiting.pop(self.n_merged))
            self.n_merged += 1
            self.factor = max(shortfall(self._merged, self.targets).values(), default=math.inf)
            if self.factor <= 1.0 or self.n_merged == len(self.chunks):
                self.n_needed = self.n_merged
                self._waiting.clear()

    @property
    def n_replicates(self) -> int | None:
        """How many replicates count; None until that is known."""
        return None if self.n_needed is None else sum(chunk.size for chunk in self.chunks[: self.n_needed])

    @property
    def horizon(self) -> int:
        """Up to how many chunks seem worth handing out now."""
        if self.n_needed is not None:
            return self.n_needed
        if self.n_merged == 0:
            return 1
        missing = min((self.factor - 1.0) * self.n_merged * CAUTION, len(self.chunks))
        return min(len(self.chunks), self.n_merged + max(1, math.floor(missing)))


class PreciseQueue(TaskQueue):
    """Hands out chunks where precision is missing, then the cells; in the place of a `tasks.TaskQueue`."""

    def __init__(self, cells: Sequence[CellPrecision], missing: Mapping[int, Sequence[Block]]):
        """`cells` have been told of the chunks that are stored; `missing` are the others, in replicate order."""
        self.cells = cells
        super().__init__([cell.chunks for cell in cells], {})
        self._missing = [list(missing.get(index, ())) for index in range(len(cells))]
        self._next = [0] * len(cells)
        self._waiting = list(range(len(cells)))

    def __bool__(self) -> bool:
        """Whether anything is still to be handed out."""
        return bool(self._waiting)

    def observe(self, done: Done) -> None:
        """Learns what is finished, and how long it took."""
        super().observe(done)
        if not isinstance(done, CellDone):
            self.cells[done.cell].add(done.chunk, done.summaries)

    def counted(self, cell: int) -> tuple[Block, ...] | None:
        """The chunks of a cell that count; None until that is known."""
        found = self.cells[cell]
        return None if found.n_needed is None else tuple(found.chunks[: found.n_needed])

    def seconds_left(self) -> float:
        """How long one worker would take for what seems to be needed, as far as is known."""
        self.replicates_left = sum(sum(chunk.size for chunk in self._open(index, cell.horizon)) for index, cell in enumerate(self.cells))
        return super().seconds_left()

    def next(self, workers: int) -> Task | None:
        """The next task for one of so many workers; None when there is none, or none before some more is finished."""
        for index, cell in enumerate(self.cells):
            if chunks := self._open(index, cell.horizon):
                return self._hand_out(index, chunks, workers)
        for index in self._waiting:
            counted = self.counted(index)
            if counted is not None:
                self._waiting.remove(index)
                return Task(index, counted, evaluate=True)
        if workers > 1:
            for index, cell in enumerate(self.cells):
                ahead = [] if cell.n_needed is not None else self._open(index, cell.n_merged + workers)
                if ahead:
                    return self._hand_out(index, ahead[:1], workers)
        return None

    def _open(self, index: int, horizon: int) -> list[Block]:
        """The missing chunks up to a horizon that have not been handed out."""
        end = sum(chunk.size for chunk in self.cells[index].chunks[:horizon])
        return [chunk for chunk in self._missing[index][self._next[index] :] if chunk.first < end]

    def _hand_out(self, index: int, chunks: Sequence[Block], workers: int) -> Task:
        size = 1
        if self._simulated:
            seconds = self._simulating / self._simulated * chunks[0].size
            size = max(1, min(int(TASK_SECONDS / max(seconds, 1e-9)), len(chunks) // (4 * workers), MOST_CHUNKS))
        self._next[index] += size
        return Task(index, tuple(chunks[:size]))


def require_results(trials: Sequence[Trial]) -> None:
    """UsageError where a target is of a measure of which no cell has a result (as some replicates of each show)."""
    targets = {measure for trial in trials for measure in trial.target_mcse}
    found: set[str] = set()
    for trial in trials:
        if targets <= found:
            return
        # On the CPU: which results there are does not depend on the device, which the workers alone may have.
        summaries = summarise(simulate(replace(trial, device="cpu"), Block(0, TRIED)), analysis_labels(trial.analyses, trial.families), frozenset(targets))
        found |= {measure for measure in targets if mcse_so_far(summaries, measure)}
    for measure in sorted(targets - found):
        raise UsageError(f"simulation.target_mcse.{measure}: no cell of this run has a result {measure}")
