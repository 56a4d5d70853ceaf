from __future__ import annotations

import io

import pytest
from rich.console import Console

from trialsim.execution import progress
from trialsim.execution.manifest import PlannedCell
from trialsim.execution.progress import LiveProgress, PlainProgress, make_progress

CELLS = [PlannedCell("default", "h0", "null_hypothesis", "a", 10_000, "k"), PlannedCell("n=500", "base", "alternative", "b", 10_000, "k")]


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_plain_line_every_thirty_seconds_on_stderr(clock, capsys):
    shown = PlainProgress()
    shown.start(CELLS)
    for seconds in range(70):
        clock.now = 100.0 + seconds
        shown.stored(1, 100, 90)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first == "3,100 of 20,000 replicates, 103/s, 2:44 left; power so far in n=500,base: 0.900 ± 0.005"
    assert second.startswith("6,100 of 20,000 replicates, 102/s")


def test_what_was_found_does_not_count_as_speed(clock):
    shown = PlainProgress()
    shown.start(CELLS)
    shown.stored(0, 9000, 200, fresh=False)
    clock.now += 10
    shown.stored(0, 1000, 30)
    assert shown.summary() == "10,000 of 20,000 replicates, 100/s, 1:40 left"
    assert shown.power(0) == "0.023 ± 0.001"
    assert shown.power(1) == ""


def test_the_live_table_has_a_row_per_cell_that_has_begun():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    shown = LiveProgress(console)
    shown.start(CELLS)
    shown.stored(1, 4096, 3700)
    console.print(shown._render())
    shown.say("[not markup] a message")
    shown.stop()
    text = console.file.getvalue()
    assert "n=500,base" in text
    assert "4,096" in text
    assert "0.903 ± 0.005" in text
    assert "h0" not in text
    assert "[not markup] a message" in text


def test_plain_where_stderr_is_no_terminal():
    assert isinstance(make_progress(), PlainProgress)
