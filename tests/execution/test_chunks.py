from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from trialsim.execution.chunks import CHUNK, Stopped, blocks_of, chunks_of, concatenate, simulate_chunk
from trialsim.records import AnalysisRecord
from trialsim.rng import Block


def same(a, b):
    """Every tensor of two records is equal, NaN to NaN."""
    for field in fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, dict):
            assert list(left) == list(right)
            pairs = [(left[name], right[name]) for name in left]
        else:
            pairs = [(left, right)]
        for x, y in pairs:
            if isinstance(x, AnalysisRecord):
                same(x, y)
            elif isinstance(x, torch.Tensor):
                assert torch.equal(torch.nan_to_num(x.double(), nan=-9.0), torch.nan_to_num(y.double(), nan=-9.0)), field.name
            else:
                assert x == y, field.name


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, CHUNK + 1, 10_000])
def test_chunks_cover_the_replicates_once_and_are_fixed(n):
    chunks = chunks_of(n)
    assert [r for chunk in chunks for r in range(chunk.first, chunk.first + chunk.size)] == list(range(n))
    assert chunks[:-1] == chunks_of(10 * n)[: len(chunks) - 1]


def test_blocks_cover_the_chunk():
    assert list(blocks_of(Block(4096, 10), 4)) == [Block(4096, 4), Block(4100, 4), Block(4104, 2)]


@pytest.mark.parametrize("block_size", [1, 7, 64, 1000])
def test_a_chunk_is_the_same_whatever_its_blocks(synthetic_record, block_size):
    options = {"failure_rate": 0.05, "analyses": ("primary", "second"), "df": True}
    same(simulate_chunk(lambda block: synthetic_record(block, **options), Block(30, 100), block_size=block_size), synthetic_record(Block(30, 100), **options))


def test_a_column_that_some_blocks_lack_is_filled(synthetic_record):
    first, second = synthetic_record(Block(0, 3), df=True), synthetic_record(Block(3, 2), df=True)
    without = replace(first, analyses={"primary": replace(first.analyses["primary"], df=None, n_events=None)})
    together = concatenate([without, second]).analyses["primary"]
    assert together.df[:3].isnan().all()
    assert torch.equal(together.df[3:].nan_to_num(), second.analyses["primary"].df.nan_to_num())
    assert (together.n_events[:3] == 0).all()
    assert together.n_events.dtype == second.analyses["primary"].n_events.dtype


def test_stopping_abandons_the_chunk(synthetic_record):
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        simulate_chunk(synthetic_record, Block(0, 10), block_size=2, stop=lambda: next(asked))
