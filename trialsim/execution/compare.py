"""Two designs of one run, or of two runs with the same seed, compared replicate by replicate under common random numbers.

    run A ── chunks of (design a, scenario) ──┐
                                              ├─► differences per replicate ──► rows (trialsim.compare/1)
    run B ── chunks of (design b, scenario) ──┘

Both read their stored chunks side by side in replicate order, and as many replicates as both have from the first on. The
numbers are the same bits whoever simulated them. What makes the numbers differ otherwise than by design is said in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialsim.errors import UsageError, did_you_mean
from trialsim.evaluation.paired import PairedDifferences, PairedRow
from trialsim.execution.comparisons import labels_in_cell
from trialsim.execution.manifest import PlannedCell, planned_cells
from trialsim.execution.run import stored_study
from trialsim.execution.store import RunDirectory, open_directory
from trialsim.rng import Block
from trialsim.spec import Cell

SCHEMA = "trialsim.compare/1"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two designs: the run it is of, and its cells by scenario."""

    directory: RunDirectory
    manifest: Mapping[str, Any]
    design: str
    cells: Mapping[str, tuple[int, PlannedCell, Cell]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.directory.path),
            "study": self.manifest["study"],
            "protocol_sha256": self.manifest["protocol_sha256"],
            "state": self.manifest["state"],
            "design": self.design,
        }

    def chunks(self, scenario: str) -> list[Block]:
        """The stored chunks from replicate 0 on without a gap."""
        index, planned, _ = self.cells[scenario]
        longest: dict[int, Block] = {}
        for chunk in self.directory.stored_chunks(index, planned.key):
            end = min(chunk.first + chunk.size, planned.replicates)
            if chunk.first < end and chunk.size >= longest.get(chunk.first, Block(chunk.first, 0)).size:
                longest[chunk.first] = chunk
        found: list[Block] = []
        first = 0
        while first in longest:
            found.append(longest[first])
            first += longest[first].size
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """`replicates` that were paired, by scenario."""

    a: Side
    b: Side
    seed: int
    replicates: Mapping[str, int]
    notes: tuple[str, ...]
    rows: tuple[PairedRow, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "a": self.a.as_dict(),
            "b": self.b.as_dict(),
            "seed": self.seed,
            "replicates": dict(self.replicates),
            "notes": list(self.notes),
            "results": [row.as_dict() for row in self.rows],
        }


def compare_designs(run_a: Path | str, run_b: Path | str | None = None, *, designs: Sequence[str] = (), scenario: str | None = None) -> Comparison:
    """The paired differences, A minus B, of two designs.

    In one run: its two `designs` (may be left out where it has two). In two runs: that of each, or both of one name; may be
    left out where each run has one. Of every scenario, or of one. Raises UsageError where that leaves something open, or the
    two share no random numbers.
    """
    if run_b is None:
        a, b = _within(run_a, designs)
    else:
        a, b = _between(run_a, run_b, designs)
    if a.manifest["seed"] != b.manifest["seed"]:
        raise UsageError(f"{a.directory.path} has seed {a.manifest['seed']} and {b.directory.path} seed {b.manifest['seed']}: they share no random numbers")
    scenarios = _scenarios(a, b, scenario)
    rows: list[PairedRow] = []
    replicates: dict[str, int] = {}
    notes: list[str] = list(_on_the_whole(a, b))
    for name in scenarios:
        replicates[name], found = _compare(a, b, name)
        rows += found
        notes += _about(a, b, name, replicates[name])
    return Comparison(a, b, a.manifest["seed"], replicates, tuple(notes), tuple(rows))


def _compare(a: Side, b: Side, scenario: str) -> tuple[int, list[PairedRow]]:
    _, planned, cell_a = a.cells[scenario]
    _, _, cell_b = b.cells[scenario]
    differences = PairedDifferences(scenario, planned.role, labels_in_cell(cell_a), labels_in_cell(cell_b))
    n = 0
    for chunk_a, chunk_b in zip(a.chunks(scenario), b.chunks(scenario), strict=False):
        if chunk_a.first != chunk_b.first:  # the shorter of the two before was the last of its cell
            break
        differences.add(
            *(side.directory.read_chunk(side.cells[scenario][0], side.cells[scenario][1].key, chunk) for side, chunk in ((a, chunk_a), (b, chunk_b)))
        )
        n += min(chunk_a.size, chunk_b.size)
    if n < 2:
        raise UsageError(f"scenario {scenario}: fewer than two replicates are stored of both designs")
    return n, list(differences.rows())


def _open(path: Path | str) -> tuple[RunDirectory, dict[str, Any], list[PlannedCell], dict[tuple[str, str], Cell]]:
    directory = open_directory(path)
    manifest = directory.manifest()
    study = stored_study(directory, manifest)
    return directory, manifest, planned_cells(manifest), {(cell.design, cell.scenario): cell for cell in study.cells({})}


def _side(opened: tuple[RunDirectory, dict[str, Any], list[PlannedCell], dict[tuple[str, str], Cell]], design: str) -> Side:
    directory, manifest, planned, cells = opened
    names = list(dict.fromkeys(cell.design for cell in planned))
    if design not in names:
        raise UsageError(f'--design {design}: no design "{design}" in {directory.path}{did_you_mean(design, names)}')
    own = {cell.scenario: (index, cell, cells[cell.design, cell.scenario]) for index, cell in enumerate(planned) if cell.design == design}
    return Side(directory, manifest, design, own)


def _within(path: Path | str, designs: Sequence[str]) -> tuple[Side, Side]:
    opened = _open(path)
    names = list(dict.fromkeys(cell.design for cell in opened[2]))
    if not designs and len(names) == 2:
        designs = names
    if len(designs) != 2:
        if len(names) < 2:
            raise UsageError(f"{path}: has one design; name a second run to compare it with")
        raise UsageError(f"{path}: name the two designs to compare, --design A --design B, of: {', '.join(names)}")
    if designs[0] == designs[1]:
        raise UsageError(f"--design {designs[0]}: is given twice; name two designs")
    return _side(opened, designs[0]), _side(opened, designs[1])


def _between(path_a: Path | str, path_b: Path | str, designs: Sequence[str]) -> tuple[Side, Side]:
    opened = [_open(path_a), _open(path_b)]
    names = [list(dict.fromkeys(cell.design for cell in planned)) for _, _, planned, _ in opened]
    if len(designs) > 2:
        raise UsageError("--design: give at most two, one for each run")
    if designs:
        wanted = [designs[0], designs[-1]]
    elif len(names[0]) == len(names[1]) == 1:
        wanted = [names[0][0], names[1][0]]
    else:
        path, own = (path_a, names[0]) if len(names[0]) > 1 else (path_b, names[1])
        raise UsageError(f"{path}: has several designs; name the one of each run, --design A --design B, here of: {', '.join(own)}")
    return _side(opened[0], wanted[0]), _side(opened[1], wanted[1])


def _scenarios(a: Side, b: Side, wanted: str | None) -> list[str]:
    """Those asked for; all must be in both."""
    if wanted is not None:
        for side in (a, b):
            if wanted not in side.cells:
                raise UsageError(f'--scenario {wanted}: no scenario "{wanted}" in {side.directory.path}{did_you_mean(wanted, side.cells)}')
        return [wanted]
    for side, other in ((a, b), (b, a)):
        alone = [name for name in side.cells if name not in other.cells]
        if alone:
            both = [name for name in side.cells if name in other.cells]
            hint = f"; choose one of both with --scenario: {', '.join(both)}" if both else ""
            raise UsageError(f"scenario {alone[0]}: is in {side.directory.path} and not in {other.directory.path}{hint}")
    return list(a.cells)


def _on_the_whole(a: Side, b: Side) -> Iterator[str]:
    engines = [{**side.manifest["engine"], "python": "", "device": side.manifest["device"]} for side in (a, b)]
    other = [f"{name} {engines[0].get(name)} and {engines[1].get(name)}" for name in engines[0] if engines[0].get(name) != engines[1].get(name)]
    if other:
        yield f"the runs were made with different engines ({', '.join(other)})"


def _about(a: Side, b: Side, scenario: str, n: int) -> Iterator[str]:
    """What the reader of a scenario's differences must know."""
    (_, planned_a, cell_a), (_, planned_b, cell_b) = a.cells[scenario], b.cells[scenario]
    if n < max(planned_a.replicates, planned_b.replicates):
        yield f"scenario {scenario}: the first {n:,} replicates, which both have (of {planned_a.replicates:,} in A and {planned_b.replicates:,} in B)"
    if cell_a.protocol.truth != cell_b.protocol.truth:
        yield f"scenario {scenario}: A and B differ in `truth`, not only in design: the differences are of both"


__all__ = ["SCHEMA", "Comparison", "Side", "compare_designs"]
