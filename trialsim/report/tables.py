"""Result rows as tables: what came out of every cell, each number with its Monte Carlo standard error and n."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialsim.report.numbers import Figure, figure, measure_name, scale_name
from trialsim.report.sentences.scenarios import ROLES

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A number in a table. `bar` is a share to draw; `also` a second number under it, with its label."""

    figure: Figure | None
    bar: float | None = None
    note: str = ""
    also: Figure | None = None
    also_note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: its headers (name and small print) and its entries."""

    head: str
    tag: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Lines under a common heading (none: no heading)."""

    head: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A captioned table."""

    id: str
    caption: str
    first: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]


class Results:
    """The rows of a run, found by what they are of."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = list(rows)
        self.designs = _distinct(row["design"] for row in rows)
        self.scenarios = _distinct(row["scenario"] for row in rows)
        self.role = {row["scenario"]: row["role"] for row in rows}
        self.cells = _distinct((row["design"], row["scenario"]) for row in rows)
        self.comparisons = _distinct((row["analysis"], row["arm"]) for row in rows if row["analysis"] is not None)
        self.endpoints = _distinct(row["endpoint"] for row in rows if row["measure"] == "n_events")
        self._found = {
            (
                row["design"],
                row["scenario"],
                row["analysis"],
                row["arm"],
                row["endpoint"] if row["measure"].startswith("n_events") else None,
                row["look"],
                row["measure"],
            ): row
            for row in rows
        }

    def find(
        self,
        design: str,
        scenario: str,
        measure: str,
        *,
        analysis: str | None = None,
        arm: str | None = None,
        endpoint: str | None = None,
        look: int | None = None,
    ) -> Row | None:
        """The row, or None where it was not reported (an undefined result is omitted)."""
        return self._found.get((design, scenario, analysis, arm, endpoint, look, measure))

    def looks(self) -> list[int]:
        """The looks of the trial, from 1."""
        return sorted({row["look"] for row in self.rows if row["look"] is not None})


def _distinct(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def comparison_name(analysis: str, arm: str | None) -> str:
    """`primary`, or `primary, high` for one arm of several."""
    return analysis if arm is None else f"{analysis}, {arm}"


def power_tables(results: Results) -> list[ResultTable]:
    """Scenarios down; designs across, a table for every comparison; or comparisons across, where there is one design."""
    if len(results.designs) == 1:
        columns = {comparison_name(analysis, arm): (results.designs[0], analysis, arm) for analysis, arm in results.comparisons}
        return [_power_table(results, "power-0", "How often efficacy is declared", columns)]
    return [
        _power_table(
            results, f"power-{index}", f"How often {comparison_name(*pair)} declares efficacy", {design: (design, *pair) for design in results.designs}
        )
        for index, pair in enumerate(results.comparisons)
    ]


def _power_table(results: Results, id: str, caption: str, columns: Mapping[str, tuple[str, str, str | None]]) -> ResultTable:
    """`columns`: title -> design, analysis, arm."""
    lines = []
    for scenario in results.scenarios:
        entries = [_power(results, scenario, *column) for column in columns.values()]
        lines.append(Line(scenario, ROLES[results.role[scenario]], tuple(entries)))
    return ResultTable(id=id, caption=caption, first="Scenario", columns=tuple(columns), groups=(Group("", tuple(lines)),))


def _power(results: Results, scenario: str, design: str, analysis: str, arm: str | None) -> Entry:
    row = results.find(design, scenario, "power", analysis=analysis, arm=arm)
    ignoring = results.find(design, scenario, "power_ignoring_futility", analysis=analysis, arm=arm)
    if row is None:
        return Entry(None)
    return Entry(
        figure(row),
        bar=row["estimate"],
        note="type I error" if row["null"] else "power",
        also=figure(ignoring),
        also_note="type I error, futility ignored" if row["null"] else "power, futility ignored",
    )


def size_table(results: Results) -> ResultTable:
    """Patients, events and duration of the trial in every cell."""
    spread = ("_quantile_10", "_quantile_50", "_quantile_90")
    columns = ["Patients", *(f"Events ({endpoint})" for endpoint in results.endpoints), "Duration (months)", "10 % quantile", "Median", "90 % quantile"]

    def entries(design: str, scenario: str) -> tuple[Entry, ...]:
        found = [results.find(design, scenario, "n_enrolled")]
        found += [results.find(design, scenario, "n_events", endpoint=endpoint) for endpoint in results.endpoints]
        found += [results.find(design, scenario, "duration"), *(results.find(design, scenario, f"duration{part}") for part in spread)]
        return tuple(Entry(figure(row)) for row in found)

    return ResultTable(
        "sizes", "Size and duration of the trials: means, and quantiles of the duration", "Scenario", tuple(columns), _by_design(results, entries)
    )


def estimation_tables(results: Results) -> list[ResultTable]:
    """True value, estimates, bias and coverage of every comparison that estimates something."""
    measures = ("true_value", "estimate_mean", "bias", "empirical_se", "model_se_mean", "rmse", "coverage")
    made = []
    for index, (analysis, arm) in enumerate(results.comparisons):
        own = [row for row in results.rows if row["analysis"] == analysis and row["arm"] == arm and row["look"] is None and row["measure"] in measures]
        if not own:
            continue
        present = tuple(measure for measure in measures if any(row["measure"] == measure for row in own))
        scale = next((scale_name(row) for row in own if row["measure"] != "coverage"), "")

        def entries(design: str, scenario: str, analysis: str = analysis, arm: str | None = arm, present: tuple[str, ...] = present) -> tuple[Entry, ...]:
            return tuple(Entry(figure(results.find(design, scenario, measure, analysis=analysis, arm=arm))) for measure in present)

        names = {row["measure"]: measure_name({**row, "null": False}) for row in own}
        made.append(
            ResultTable(
                id=f"estimates-{index}",
                caption=f"Estimates of {comparison_name(analysis, arm)} where the trial stopped, as {scale}, test against reference",
                first="Scenario",
                columns=tuple(names[measure] for measure in present),
                groups=_by_design(results, entries),
            )
        )
    return made


def look_tables(results: Results) -> list[ResultTable]:
    """What happens at every look, for every comparison that is made at looks."""
    looks = results.looks()
    return [
        _look_table(results, analysis, arm, index, looks)
        for index, (analysis, arm) in enumerate(results.comparisons)
        if any(row["look"] is not None and row["analysis"] == analysis and row["arm"] == arm for row in results.rows)
    ]


def _look_table(results: Results, analysis: str, arm: str | None, index: int, looks: list[int]) -> ResultTable:
    own = [row for row in results.rows if row["analysis"] == analysis and row["arm"] == arm and row["look"] is not None]
    decisions = [measure for measure in ("reject", "stop_futility", "reject_wrong_direction") if any(row["measure"] == measure for row in own)]
    titles = {"reject": "Efficacy declared", "stop_futility": "Stopped for futility", "reject_wrong_direction": "Against the test arm"}
    groups = []
    for design, scenario in results.cells:
        lines = []
        for look in looks:
            found = [results.find(design, scenario, measure, analysis=analysis, arm=arm, look=look) for measure in decisions]
            found.append(results.find(design, scenario, "look_time", look=look))
            found.append(results.find(design, scenario, "n_enrolled", look=look))
            found += [results.find(design, scenario, "n_events", endpoint=endpoint, look=look) for endpoint in results.endpoints]
            if any(row is not None for row in found):
                lines.append(Line(f"Look {look}", "", tuple(Entry(figure(row)) for row in found)))
        heading = scenario if design == "default" else f"{design} · {scenario}"
        groups.append(Group(heading, tuple(lines)))
    columns = [titles[measure] for measure in decisions] + ["Time (months)", "Patients", *(f"Events ({endpoint})" for endpoint in results.endpoints)]
    return ResultTable(f"looks-{index}", f"Decisions of {comparison_name(analysis, arm)} by look", "Look", tuple(columns), tuple(groups))


def _by_design(results: Results, entries: Any) -> tuple[Group, ...]:
    """A group of scenarios for every design; no heading where there is one design."""
    groups = []
    for design in results.designs:
        scenarios = [scenario for own, scenario in results.cells if own == design]
        lines = tuple(Line(scenario, ROLES[results.role[scenario]], entries(design, scenario)) for scenario in scenarios)
        groups.append(Group("" if results.designs == ["default"] else design, lines))
    return tuple(groups)


@dataclass(frozen=True, slots=True)
class FullRow:
    """A result row in words."""

    of: str
    look: str
    measure: str
    scale: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class FullCell:
    """Every row of a cell."""

    name: str
    role: str
    rows: tuple[FullRow, ...]


def full_cells(results: Results) -> list[FullCell]:
    """Every result row, cell by cell."""
    made = []
    for design, scenario in results.cells:
        rows = [row for row in results.rows if (row["design"], row["scenario"]) == (design, scenario)]
        name = scenario if design == "default" else f"{design}, {scenario}"
        made.append(FullCell(name, ROLES[results.role[scenario]], tuple(_full(row) for row in rows)))
    return made


def _full(row: Row) -> FullRow:
    if row["analysis"] is not None:
        of = comparison_name(row["analysis"], row["arm"])
    else:
        of = ", ".join(["trial", *(item for item in (row["endpoint"], row["arm"]) if item)])
    shown = figure(row)
    assert shown is not None
    return FullRow(of, "whole trial" if row["look"] is None else f"look {row['look']}", measure_name(row), scale_name(row), shown)
