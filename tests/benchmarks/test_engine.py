"""Whole trials, every stage included, on one core; and the floor under the survival trial.

Nothing is asserted about time. `make bench` prints medians; a block is 512 replicates, as a run makes it for 400 patients, so
replicates/s = 512 / median.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trialsim.records import Block
from trialsim.simulate import compile_trial, simulate
from trialsim.spec import load

PROTOCOLS = Path(__file__).parent / "protocols"
REPLICATES = 512


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def block_by_block(protocol: str) -> Callable[[], Any]:
    study = load(PROTOCOLS / f"{protocol}.yaml")
    trial = compile_trial(study.cells()[0], study.directory)
    first = 0

    def next_block() -> Any:
        nonlocal first
        first += REPLICATES
        return simulate(trial, Block(first, REPLICATES))

    next_block()
    return next_block


@pytest.mark.parametrize("protocol", ["fixed_survival", "group_sequential", "fitted_cohort", "continuous"])
def test_whole_trials(benchmark: Any, protocol: str) -> None:
    benchmark.extra_info["replicates"] = REPLICATES
    benchmark.pedantic(block_by_block(protocol), rounds=100, warmup_rounds=5)


def test_floor_of_the_survival_trial(benchmark: Any) -> None:
    """One Philox fill per random stage it declares (allocation, death, dropout), one partition, one sort: 400 patients."""
    generator = np.random.Generator(np.random.Philox(1))
    lane = np.empty((REPLICATES, 64))
    times = np.random.default_rng(2).random((REPLICATES, 400))

    def floor() -> None:
        for _ in range(3 * 7):  # 400 patients are 7 lanes of 64
            generator.random(out=lane)
        np.partition(times, 249, axis=-1)
        np.sort(times, axis=-1)

    benchmark.extra_info["replicates"] = REPLICATES
    benchmark.pedantic(floor, rounds=100, warmup_rounds=5)
