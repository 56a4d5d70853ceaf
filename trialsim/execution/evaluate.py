"""From the stored chunks of a cell to its result rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.evaluation.operating_characteristics import median_duration, operating_characteristics, size_quantiles
from trialsim.evaluation.results import CellLabels, ResultRow
from trialsim.execution.comparisons import comparisons_of
from trialsim.execution.manifest import PlannedCell
from trialsim.execution.store import RunDirectory
from trialsim.records import TrialRecord
from trialsim.rng import Block
from trialsim.simulate import Trial, true_values


def evaluate_cell(directory: RunDirectory, index: int, cell: PlannedCell, trial: Trial, chunks: Sequence[Block]) -> list[ResultRow]:
    """The rows of a cell whose chunks (all of its replicates, in order) are stored. Memory does not grow with the number of chunks."""

    def records() -> Iterator[TrialRecord]:
        return (directory.read_chunk(index, cell.key, chunk) for chunk in chunks)

    endpoints = [name for name, endpoint in trial.endpoints.items() if endpoint.is_event]
    quantiles = size_quantiles(records, endpoints, cell.replicates)
    comparisons = comparisons_of(trial, true_values(trial, median_duration(quantiles)))
    return operating_characteristics(records, labels=CellLabels(cell.design, cell.scenario, cell.role), comparisons=comparisons, quantiles=quantiles)
