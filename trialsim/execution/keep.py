"""What a protocol keeps of single trials (`simulation.keep`), written once a cell's chunks are stored.

    cells/000/patients.parquet   patient-level data of the first `patient_level` replicates; see `execution.patients`
    cells/000/examples.json      the stories of the first `example_trials` replicates; see `execution.story`

Looks and cuts are read from the stored chunks; only patients are simulated again. None of it is in a protocol's hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from trialsim.execution.chunks import block_size_for, blocks_of
from trialsim.execution.manifest import PlannedCell
from trialsim.execution.patients import patient_table
from trialsim.execution.store import RunDirectory
from trialsim.execution.story import story
from trialsim.records import TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, observe
from trialsim.tensors import on_cpu

SCHEMA = "trialsim.examples/1"
PATIENTS, EXAMPLES = "patients.parquet", "examples.json"


def keep_trials(directory: RunDirectory, index: int, cell: PlannedCell, trial: Trial, chunks: Sequence[Block]) -> None:
    """Writes what the cell is to keep, of at most the replicates it has. Memory does not grow with how many are kept."""
    n_stories, n_kept = (min(wanted, cell.replicates) for wanted in (trial.keep.example_trials, trial.keep.patient_level))
    if n_stories:
        stories = [
            story(trial, record, replicate)
            for record in _records(directory, index, cell, chunks, n_stories)
            for replicate in range(record.block.first, min(record.block.first + record.block.size, n_stories))
        ]
        about = {"schema": SCHEMA, "design": cell.design, "scenario": cell.scenario, "role": cell.role}
        directory.write_json(f"{directory.cell_name(index)}/{EXAMPLES}", {**about, "trials": stories})
    if n_kept:
        directory.write_tables(f"{directory.cell_name(index)}/{PATIENTS}", _patients(directory, index, cell, trial, chunks, n_kept))


def _patients(directory: RunDirectory, index: int, cell: PlannedCell, trial: Trial, chunks: Sequence[Block], n: int) -> Iterator[pa.Table]:
    for record in _records(directory, index, cell, chunks, n):
        stop = record.cut_time.gather(-1, record.stop_look.long()[:, None] - 1)[:, 0]
        wanted = Block(record.block.first, min(record.block.size, n - record.block.first))
        for block in blocks_of(wanted, block_size_for(trial.n, trial.device)):
            first = block.first - record.block.first
            yield patient_table(trial, on_cpu(observe(trial, block)), block, stop[first : first + block.size])


def _records(directory: RunDirectory, index: int, cell: PlannedCell, chunks: Sequence[Block], n: int) -> Iterator[TrialRecord]:
    """The stored records that hold the first n replicates."""
    return (directory.read_chunk(index, cell.key, chunk) for chunk in chunks if chunk.first < n)
