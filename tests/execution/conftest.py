"""A small group sequential trial, and runs of it in a few hundred replicates over several chunks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialsim.execution import chunks
from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import start_run
from trialsim.spec import load

PROTOCOL = """\
spec: trialsim/1
study: {id: SMALL, title: a small group sequential trial}
parameters: {hr: 0.55}
arms:
  experimental: {type: experimental}
  control: {type: placebo_comparator}
population: {planned_enrollment: 60}
endpoints: {os: {type: time_to_event, outcome: death, level: primary}}
truth:
  outcomes: {death: {dist: exponential, median: 10 months}}
  effects: {experimental: {death: {hr: $hr}}}
  censoring: {dropout: {dist: exponential, rate: 0.005 / month}}
accrual: {rate: 5 / month}
randomization: {ratio: {experimental: 1, control: 1}, method: permuted_block, block_size: 4}
analyses:
  primary:
    endpoint: os
    treatment: {test: experimental, reference: control}
    method: logrank
    estimate: cox
    alpha: 0.025
    sides: 1
interims:
  timing: {information: events, endpoint: os, final: 40, fractions: [0.5]}
  efficacy: {spending: lan_demets_obrien_fleming}
  futility: {z: [0.0], binding: false}
scenarios:
  h0: {role: null_hypothesis, set: {hr: 1.0}}
  base: {role: alternative}
simulation: {seed: 11, replicates: 200}
"""


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    """The small trial as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(PROTOCOL)
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of 64 replicates, so that 200 replicates are four chunks. Workers are told the chunks and need no patch."""
    monkeypatch.setattr(chunks, "CHUNK", 64)
    return 64


class Quiet(Tally):
    """Counts, and keeps what would be said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def quiet() -> type[Quiet]:
    return Quiet


@pytest.fixture
def run_small(protocol: Path, small_chunks: int, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """`run_small("name", progress=…, block_size=7, …)` runs the small trial into `tmp_path / name`."""

    def run(
        name: str, *, progress: Any = None, replicates: int | None = None, sets: dict[str, str] | None = None, **settings: Any
    ) -> tuple[Path, dict[str, Any]]:
        study = load(protocol, sets=sets or {})
        return start_run(
            study,
            only={},
            replicates=replicates,
            out=tmp_path / name,
            settings=Settings(**{"workers": 1, **settings}),
            progress=progress or Quiet(),
        )

    return run
