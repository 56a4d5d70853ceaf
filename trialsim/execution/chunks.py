"""The fixed pieces of a cell: 4,096 replicates each, whatever the block size, so that totals are the same bits.

A chunk is simulated block by block (small enough for the cache) and put together again. Only that needs torch: how a run
stands is told without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from trialsim.block import Block

if TYPE_CHECKING:
    from torch import Tensor

    from trialsim.records import AnalysisRecord, TrialRecord

KEY_LENGTH = 32
CHUNK = 4096
PATIENTS_AT_ONCE = 409_600
"""Patients simulated at once, unless asked otherwise: 1,024 trials of 400 (see docs/performance.md)."""
PATIENTS_ON_CUDA = 4_194_304
"""The same on CUDA, where a block should fill the device: 32 MiB for every column of numbers."""


class Stopped(Exception):
    """A chunk was abandoned because the run was told to stop. Never leaves the executors."""


def chunks_of(replicates: int) -> list[Block]:
    """The chunks of a cell with this many replicates; the last one may be short."""
    return [Block(first, min(CHUNK, replicates - first)) for first in range(0, replicates, CHUNK)]


def chunk_key(key: str, chunk: Block) -> str:
    """The key of a chunk of the cell with this key (`execution.keys`)."""
    return hashlib.sha256(f"{key}/{chunk.first}/{chunk.size}".encode()).hexdigest()[:KEY_LENGTH]


def block_size_for(n_patients: int, device: str = "cpu") -> int:
    """The replicates of a block: a power of two from 16 to 2,048 that holds about `PATIENTS_AT_ONCE` patients; on CUDA more, up to a chunk."""
    patients, most = (PATIENTS_AT_ONCE, 11) if device == "cpu" else (PATIENTS_ON_CUDA, 12)
    return 1 << max(4, min(most, (patients // max(n_patients, 1)).bit_length() - 1))


def blocks_of(chunk: Block, block_size: int) -> Iterator[Block]:
    """The blocks a chunk is simulated in."""
    for first in range(chunk.first, chunk.first + chunk.size, block_size):
        yield Block(first, min(block_size, chunk.first + chunk.size - first))


def simulate_chunk(simulate: Callable[[Block], TrialRecord], chunk: Block, *, block_size: int, stop: Callable[[], bool] | None = None) -> TrialRecord:
    """The record of a chunk. `stop()` is asked before every block and makes it raise `Stopped`."""
    records = []
    for block in blocks_of(chunk, block_size):
        if stop is not None and stop():
            raise Stopped
        records.append(simulate(block))
    return concatenate(records)


def concatenate(records: Sequence[TrialRecord]) -> TrialRecord:
    """One record of consecutive blocks, in order.

    A column that is None in some blocks only (an analysis that none of their trials came to) is NaN there; 0 if it counts.
    """
    import torch

    from trialsim.records import TrialRecord

    first = records[0]
    block = Block(first.block.first, sum(record.block.size for record in records))

    def along(tensors: Sequence[Tensor]) -> Tensor:
        return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))

    return TrialRecord(
        block=block,
        looks=first.looks,
        cut_time=along([record.cut_time for record in records]),
        n_enrolled=along([record.n_enrolled for record in records]),
        reached=along([record.reached for record in records]),
        stop_look=along([record.stop_look for record in records]),
        target_not_reached=along([record.target_not_reached for record in records]),
        n_events={name: along([record.n_events[name] for record in records]) for name in first.n_events},
        n_per_arm={name: along([record.n_per_arm[name] for record in records]) for name in first.n_per_arm},
        analyses={name: _concatenate_analysis([record.analyses[name] for record in records]) for name in first.analyses},
    )


def _concatenate_analysis(records: Sequence[AnalysisRecord]) -> AnalysisRecord:
    import torch

    from trialsim.records import AnalysisRecord

    if len(records) == 1:
        return records[0]
    columns: dict[str, Tensor | None] = {}
    for field in fields(AnalysisRecord):
        given: list[Tensor | None] = [getattr(record, field.name) for record in records]
        present = next((tensor for tensor in given if tensor is not None), None)
        if present is None:
            columns[field.name] = None
            continue
        empty = torch.nan if present.is_floating_point() else 0
        columns[field.name] = torch.cat(
            [torch.full_like(record.z, empty, dtype=present.dtype) if tensor is None else tensor for record, tensor in zip(records, given, strict=True)]
        )
    return AnalysisRecord(**columns)  # type: ignore[arg-type]
