"""`trialsim compare`: paired differences between two designs under common random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

DAYS_PER_MONTH = 30.4375
WIDTH = 120
TITLES = {
    "estimate_mean": "estimate",
    "model_se_mean": "model SE",
    "n_enrolled": "patients",
    "n_events": "events",
    "duration": "months",
    "convergence_failure": "failed",
}
HIDDEN = ("allocated", "target_not_reached", "convergence_failure")
"""Measures that the table leaves out where both designs agree."""
Row = dict[str, Any]


@command
def compare(
    run_a: Annotated[str, typer.Argument(help="The directory of a run (or its URL).")],
    run_b: Annotated[str | None, typer.Argument(help="The directory of the other run; without it, two designs of the first are compared.")] = None,
    design: Annotated[list[str] | None, typer.Option("--design", help="A design: twice, first A, then B. May be left out where there is no choice.")] = None,
    scenario: Annotated[str | None, typer.Option("--scenario", help="Only this scenario; default: all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print differences A minus B, formed trial by trial, with their own Monte Carlo standard error, and what sharing random numbers gained."""
    from trialsim.execution.compare import compare_designs

    found = compare_designs(run_a, run_b, designs=tuple(design or ()), scenario=scenario).as_dict()
    for note in found["notes"]:
        say(f"note: {note}")
    if json:
        print_json(found)
    else:
        print_comparison(found)


def print_comparison(found: dict[str, Any]) -> None:
    """A table per scenario."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for side in ("a", "b"):
        about = found[side]
        console.print(f"{side.upper()}: {about['run']}, design {about['design']}", markup=False, highlight=False, soft_wrap=True)
    for scenario, n in found["replicates"].items():
        console.print(f"\n{scenario}: {n:,} pairs of trials", markup=False, highlight=False)
        console.print(_table([row for row in found["results"] if row["scenario"] == scenario]))
    console.print("\ngain: independent simulation would have (this many times) the standard error of the difference", highlight=False, soft_wrap=True)


def _table(rows: Sequence[Row]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("measure", "of"):
        table.add_column(title, overflow="fold")
    for title in ("A", "B", "A − B", "gain", "pairs"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        if row["measure"] in HIDDEN and row["difference"] == 0 and row["a"] == row["b"]:
            continue
        scale = DAYS_PER_MONTH if row["scale"] == "days" else 1.0
        of = ", ".join(str(row[key]) for key in ("analysis", "endpoint", "arm") if row[key] is not None and (key != "endpoint" or row["analysis"] is None))
        decimals = _decimals(row["mcse"] / scale)
        table.add_row(
            Text(TITLES.get(row["measure"], row["measure"].replace("_", " "))),
            Text(of),
            *(Text(f"{row[key] / scale:.{decimals}f}") for key in ("a", "b")),
            Text(f"{row['difference'] / scale:+.{decimals}f} ± {row['mcse'] / scale:.{decimals}f}"),
            Text("" if row["mcse_ratio"] is None else f"{row['mcse_ratio']:.1f}×"),
            Text(f"{row['n']:,}"),
        )
    return table


def _decimals(mcse: float) -> int:
    """To two digits of the standard error, at most six decimals."""
    return 3 if mcse == 0 else min(6, max(0, 1 - math.floor(math.log10(mcse))))
