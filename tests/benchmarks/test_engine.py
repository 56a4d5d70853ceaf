"""Whole trials, every stage included, on one core; and the floor under the survival trial.

Nothing is asserted about time. `make bench` prints medians of a block, which has the size that a run gives it: replicates/s =
replicates of the block / median. They are 1,024 for 400 patients and 2,048 for 200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trialsim.execution.chunks import block_size_for
from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

PROTOCOLS = Path(__file__).parent / "protocols"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def block_by_block(protocol: str) -> tuple[Callable[[], Any], int]:
    study = load(PROTOCOLS / f"{protocol}.yaml")
    trial = compile_trial(study.cells()[0], study.directory)
    first, size = 0, block_size_for(trial.n)

    def next_block() -> Any:
        nonlocal first
        first += size
        return simulate(trial, Block(first, size))

    next_block()
    return next_block, size


@pytest.mark.parametrize("protocol", ["fixed_survival", "group_sequential", "fitted_cohort", "continuous"])
def test_whole_trials(benchmark: Any, protocol: str) -> None:
    next_block, benchmark.extra_info["replicates"] = block_by_block(protocol)
    benchmark.pedantic(next_block, rounds=100, warmup_rounds=5)


def test_floor_of_the_survival_trial(benchmark: Any) -> None:
    """One Philox fill per random stage it declares (allocation, death, dropout), one partition, one sort: 400 patients."""
    size = block_size_for(400)
    generator = np.random.Generator(np.random.Philox(1))
    lane = np.empty((size, 64))
    times = np.random.default_rng(2).random((size, 400))

    def floor() -> None:
        for _ in range(3 * 7):  # 400 patients are 7 lanes of 64
            generator.random(out=lane)
        np.partition(times, 249, axis=-1)
        np.sort(times, axis=-1)

    benchmark.extra_info["replicates"] = size
    benchmark.pedantic(floor, rounds=100, warmup_rounds=5)
