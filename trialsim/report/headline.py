"""The first things a reader wants: how large the run is, and the few numbers that decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialsim.report.numbers import Figure, figure
from trialsim.report.sentences.scenarios import ROLES
from trialsim.report.source import FinishedRun
from trialsim.report.tables import Results, comparison_name
from trialsim.report.wording import capital, count, counted, listed


@dataclass(frozen=True, slots=True)
class Tile:
    """A number with its label and what it is of."""

    label: str
    figure: Figure
    unit: str
    of: str


def tiles(run: FinishedRun, results: Results) -> list[Tile]:
    """Power, type I error, size and duration of the described design."""
    return list(_tiles(run, results))


def _tiles(run: FinishedRun, results: Results) -> Iterator[Tile]:
    design, scenario = run.described.design, run.described.scenario
    named = len(results.comparisons) > 1
    for analysis, arm in [pair for pair in results.comparisons if pair[1] is None][:2]:
        row = results.find(design, scenario, "power", analysis=analysis, arm=arm)
        if shown := figure(row):
            label = "Type I error" if row and row["null"] else "Power"
            yield Tile(f"{label}, {comparison_name(analysis, arm)}" if named else label, shown, "", _of(design, scenario))
    null = next((name for name in results.scenarios if results.role[name] == "null_hypothesis" and name != scenario), None)
    if null is not None:
        for analysis, arm in [pair for pair in results.comparisons if pair[1] is None][:1]:
            ignoring = results.find(design, null, "power_ignoring_futility", analysis=analysis, arm=arm)
            row = ignoring or results.find(design, null, "power", analysis=analysis, arm=arm)
            if row is not None and row["null"] and (shown := figure(row)):
                label = f"Type I error, {comparison_name(analysis, arm)}" if named else "Type I error"
                yield Tile(label, shown, "", _of(design, null) + (", futility ignored" if ignoring else ""))
    for measure, label, unit in (("n_enrolled", "Patients", ""), ("duration", "Duration", "months")):
        if shown := figure(results.find(design, scenario, measure)):
            yield Tile(f"{label}, mean", shown, unit, _of(design, scenario))


def _of(design: str, scenario: str) -> str:
    return scenario if design == "default" else f"{design}, {scenario}"


def _until_precise(cells: Sequence[Mapping[str, Any]]) -> str:
    """Where precision decided how many trials there are of each cell."""
    made = sorted({cell["replicates"] for cell in cells})
    most = sorted({cell.get("ceiling", cell["replicates"]) for cell in cells})
    span = f"{made[0]:,}" if len(made) == 1 else f"{made[0]:,} to {made[-1]:,}"
    text = f"{count(sum(cell['replicates'] for cell in cells), 'simulated trial')} of {counted(len(cells), 'cell')}, each simulated until precise enough: "
    text += f"{span} of at most {listed((f'{n:,}' for n in most), 'or')}."
    full = sum("ceiling" not in cell for cell in cells)
    return text + (f" {capital(counted(full, 'cell'))} took as many as there may be." if full else "")


def scope(run: FinishedRun) -> str:
    """How many trials of how many cells, and where that is not what the protocol asks for."""
    cells = run.manifest["cells"]
    if any(cell.protocol.simulation.target_mcse for cell in run.study.cells()):
        return _until_precise(cells)
    roles: dict[int, list[str]] = {}
    for cell in cells:
        named = roles.setdefault(cell["replicates"], [])
        if (role := ROLES[cell["role"]]) not in named:
            named.append(role)
    where = "the one cell" if len(cells) == 1 else f"each of {len(cells)} cells"
    each = listed(f"{count(n, 'trial')} in {where}" if len(roles) == 1 else f"{n:,} in each {listed(names)} cell" for n, names in roles.items())
    text = f"{count(sum(cell['replicates'] for cell in cells), 'simulated trial')}: {each}."
    planned = {(cell.design, cell.scenario): cell.replicates for cell in run.study.cells()}
    if len(cells) < len(planned):
        text += f" The protocol has {counted(len(planned), 'cell')}; this run is of {'one' if len(cells) == 1 else len(cells)} of them."
    if any(cell["replicates"] != planned[cell["design"], cell["scenario"]] for cell in cells):
        asked = sorted({planned[cell["design"], cell["scenario"]] for cell in cells})
        text += f" The protocol asks for {listed((f'{n:,}' for n in asked), 'or')} in each."
    return text
