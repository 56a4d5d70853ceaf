"""How far a run is: a live table on a terminal, a plain line every 30 seconds elsewhere. Always on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trialsim.evaluation.mcse import proportion_mcse
from trialsim.execution.manifest import PlannedCell

LINE_EVERY = 30.0
MOST_ROWS = 20


class Progress(Protocol):
    """Is told what happens; shows what it likes."""

    def start(self, cells: Sequence[PlannedCell]) -> None:
        """The run's cells."""

    def stored(self, cell: int, n: int, rejected: int, *, fresh: bool = True) -> None:
        """So many replicates of a cell are stored; not `fresh`: they were found there."""

    def settled(self, cell: int, n: int) -> None:
        """A cell is precise enough with so many replicates."""

    def say(self, text: str) -> None:
        """Something the user should know."""

    def stop(self) -> None:
        """Nothing more will come."""


class Tally:
    """Counts what is stored, and shows nothing."""

    def start(self, cells: Sequence[PlannedCell]) -> None:
        self.cells = tuple(cells)
        self.n, self.rejected = [0] * len(cells), [0] * len(cells)
        self._fresh, self._since = 0, time.perf_counter()

    def stored(self, cell: int, n: int, rejected: int, *, fresh: bool = True) -> None:
        self.n[cell] += n
        self.rejected[cell] += rejected
        if fresh:
            self._fresh += n

    def settled(self, cell: int, n: int) -> None:
        self.cells = tuple(replace(item, replicates=n) if index == cell else item for index, item in enumerate(self.cells))
        self.n[cell] = min(self.n[cell], n)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        pass

    @property
    def total(self) -> int:
        return sum(cell.replicates for cell in self.cells)

    def rate(self) -> float:
        """Replicates per second since the start, start-up included."""
        return self._fresh / max(time.perf_counter() - self._since, 1e-9)

    def summary(self) -> str:
        """`12,288 of 40,000 replicates, 21,000/s, 0:01 left`."""
        done, rate = sum(self.n), self.rate()
        left = ", evaluating" if done == self.total else f", {_clock((self.total - done) / rate)} left" if rate > 0 else ""
        return f"{done:,} of {self.total:,} replicates, {rate:,.0f}/s{left}"

    def power(self, cell: int) -> str:
        """`0.901 ± 0.003` so far; the first analysis of the protocol."""
        n, x = self.n[cell], self.rejected[cell]
        mcse = proportion_mcse(x, n)
        if mcse is None:
            return ""
        decimals = max(3, -math.floor(math.log10(mcse)))  # to the first digit of the standard error
        return f"{x / n:.{decimals}f} ± {mcse:.{decimals}f}"


class PlainProgress(Tally):
    """A line every 30 seconds."""

    def start(self, cells: Sequence[PlannedCell]) -> None:
        super().start(cells)
        self._last = time.perf_counter()

    def stored(self, cell: int, n: int, rejected: int, *, fresh: bool = True) -> None:
        super().stored(cell, n, rejected, fresh=fresh)
        if time.perf_counter() - self._last >= LINE_EVERY:
            self._last = time.perf_counter()
            self.say(f"{self.summary()}; power so far in {self.cells[cell]}: {self.power(cell)}")


class LiveProgress(Tally):
    """A row per cell that has begun, and a line for the run."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._live: Live | None = None

    def start(self, cells: Sequence[PlannedCell]) -> None:
        super().start(cells)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._render)
        self._live.start()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def _render(self) -> Group:
        table = Table("cell", "replicates", "", "power so far", box=None, pad_edge=False)
        begun = [i for i, n in enumerate(self.n) if n]
        for i in begun[-MOST_ROWS:]:
            cell = self.cells[i]
            table.add_row(Text(str(cell)), f"{self.n[i]:,}", ProgressBar(total=cell.replicates, completed=self.n[i], width=24), self.power(i))
        return Group(table, Text(self.summary()))


def make_progress() -> Progress:
    """Live on a terminal, plain elsewhere."""
    console = Console(stderr=True)
    return LiveProgress(console) if console.is_terminal else PlainProgress()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
