"""From the stored chunks of a cell to its result rows."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.evaluation.operating_characteristics import median_duration, operating_characteristics, size_quantiles
from trialsim.evaluation.results import CellLabels, ResultRow
from trialsim.execution.chunks import chunks_of
from trialsim.execution.comparisons import comparisons_of
from trialsim.execution.manifest import PlannedCell
from trialsim.execution.store import RunDirectory
from trialsim.records import TrialRecord
from trialsim.simulate import Trial, true_values


def evaluate_cell(directory: RunDirectory, index: int, cell: PlannedCell, trial: Trial) -> list[ResultRow]:
    """The rows of a cell all of whose chunks are stored. Memory does not grow with the number of chunks."""

    def chunks() -> Iterator[TrialRecord]:
        return (directory.read_chunk(index, cell.sha256, chunk) for chunk in chunks_of(cell.replicates))

    endpoints = [name for name, endpoint in trial.endpoints.items() if not endpoint.visits]
    quantiles = size_quantiles(chunks, endpoints, cell.replicates)
    comparisons = comparisons_of(trial, true_values(trial, median_duration(quantiles)))
    return operating_characteristics(chunks, labels=CellLabels(cell.design, cell.scenario, cell.role), comparisons=comparisons, quantiles=quantiles)
