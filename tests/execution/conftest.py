"""Runs of the small trial in a few hundred replicates over several chunks."""

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
def run_small(small_protocol: Path, small_chunks: int, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """`run_small("name", progress=…, block_size=7, …)` runs the small trial into `tmp_path / name`."""

    def run(
        name: str, *, progress: Any = None, replicates: int | None = None, sets: dict[str, str] | None = None, **settings: Any
    ) -> tuple[Path, dict[str, Any]]:
        study = load(small_protocol, sets=sets or {})
        return start_run(
            study,
            only={},
            replicates=replicates,
            out=name if "://" in str(name) else tmp_path / name,
            settings=Settings(**{"workers": 1, **settings}),
            progress=progress or Quiet(),
        )

    return run
