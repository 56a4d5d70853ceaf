"""What storing and reading a chunk of 4,096 trials costs: to be held against the 200 ms that 20,000 replicates/s need for it."""

from __future__ import annotations

import pytest

from trialsim.execution.store import RunDirectory
from trialsim.rng import Block


@pytest.mark.parametrize("n_looks", [1, 3])
def test_write_chunk(benchmark, synthetic_record, tmp_path, n_looks):
    directory, record = RunDirectory(tmp_path), synthetic_record(Block(0, 4096), n_looks=n_looks)
    benchmark(directory.write_chunk, 0, "cell", record)
    assert directory.stored_chunks(0, "cell") == [Block(0, 4096)]


@pytest.mark.parametrize("n_looks", [1, 3])
def test_read_chunk(benchmark, synthetic_record, tmp_path, n_looks):
    directory = RunDirectory(tmp_path)
    directory.write_chunk(0, "cell", synthetic_record(Block(0, 4096), n_looks=n_looks))
    assert benchmark(directory.read_chunk, 0, "cell", Block(0, 4096)).block == Block(0, 4096)
