"""Tables of results: several arms, several designs, and results that are undefined."""

from __future__ import annotations

from typing import Any

from trialsim.report.tables import Results, estimation_tables, full_cells, look_tables, power_tables, size_table


def row(measure: str, estimate: float, **changes: Any) -> dict[str, Any]:
    given = {
        "design": "n=300",
        "scenario": "base",
        "role": "alternative",
        "analysis": "primary",
        "endpoint": "os",
        "arm": None,
        "look": None,
        "measure": measure,
        "scale": "probability",
        "null": False,
        "estimate": estimate,
        "mcse": 0.01,
        "n": 100,
    }
    return {**given, **changes}


ROWS = [
    row("power", 0.9),
    row("power", 0.8, arm="high"),
    row("power", 0.4, arm="low"),
    row("power", 0.95, design="n=400"),
    row("power", 0.03, scenario="h0", role="null_hypothesis", null=True),
    row("power_ignoring_futility", 0.04, scenario="h0", role="null_hypothesis", null=True),
    row("bias", -0.02, scale="log_hazard_ratio"),
    row("coverage", 0.95),
    row("reject", 0.2, look=1),
    row("n_events", 120.0, analysis=None, scale="events", mcse=1.0),
    row("n_events", 60.0, analysis=None, scale="events", mcse=1.0, look=1),
    row("n_enrolled", 300.0, analysis=None, endpoint=None, scale="patients", mcse=0.0),
    row("duration", 365.25, analysis=None, endpoint=None, scale="days", mcse=3.04375),
]


def test_power_has_a_table_for_the_family_and_for_each_arm() -> None:
    family, high, low = power_tables(Results(ROWS))
    assert family.caption == "How often primary declares efficacy"
    assert (high.caption, low.caption) == ("How often primary, high declares efficacy", "How often primary, low declares efficacy")
    assert family.columns == ("n=300", "n=400")
    base, h0 = family.groups[0].lines
    assert [str(entry.figure) if entry.figure else None for entry in base.entries] == ["0.900 (±\u00a00.010, n\u00a0100)", "0.950 (±\u00a00.010, n\u00a0100)"]
    assert (base.tag, base.entries[0].note) == ("alternative", "power")
    assert (h0.tag, h0.entries[0].note) == ("null hypothesis", "type I error")
    assert h0.entries[0].also is not None
    assert h0.entries[0].also.estimate == "0.040"


def test_one_design_has_its_comparisons_side_by_side() -> None:
    (table,) = power_tables(Results([{**item, "design": "default"} for item in ROWS if item["design"] == "n=300"]))
    assert table.columns == ("primary", "primary, high", "primary, low")
    assert [entry.figure.estimate if entry.figure else None for entry in table.groups[0].lines[0].entries] == ["0.900", "0.800", "0.400"]


def test_what_is_undefined_is_left_empty() -> None:
    family = power_tables(Results(ROWS))[0]
    assert family.groups[0].lines[1].entries[1].figure is None


def test_sizes_are_of_the_trial_with_durations_in_months() -> None:
    table = size_table(Results(ROWS))
    assert [group.head for group in table.groups] == ["n=300", "n=400"]
    entries = table.groups[0].lines[0].entries
    assert [entry.figure.estimate if entry.figure else None for entry in entries] == ["300", "120.0", "12.00", None, None, None]


def test_estimates_are_shown_where_there_are_any() -> None:
    (table,) = estimation_tables(Results(ROWS))
    assert table.columns == ("Bias", "Coverage")
    assert "as log hazard ratio" in table.caption


def test_looks_have_events_of_the_look_and_decisions_of_the_analysis() -> None:
    (table,) = look_tables(Results(ROWS))
    assert table.columns == ("Efficacy declared", "Time (months)", "Patients", "Events (os)")
    (line,) = table.groups[0].lines
    assert [entry.figure.estimate if entry.figure else None for entry in line.entries] == ["0.200", None, None, "60.0"]


def test_every_row_is_in_the_full_listing_of_its_cell() -> None:
    cells = full_cells(Results(ROWS))
    assert [cell.name for cell in cells] == ["n=300, base", "n=400, base", "n=300, h0"]
    assert sum(len(cell.rows) for cell in cells) == len(ROWS)
    assert {of.of for cell in cells for of in cell.rows} == {"primary", "primary, high", "primary, low", "trial, os", "trial"}
