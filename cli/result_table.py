"""The operating characteristics of a run as tables for the eye: every number with its Monte Carlo standard error and its n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

DAYS_PER_MONTH = 30.4375
WIDTH = 100
MAIN = {"power": "power", "n_enrolled": "patients", "n_events": "events", "duration": "months"}
ESTIMATION = {"true_value": "true value", "bias": "bias", "empirical_se": "empirical SE", "model_se_mean": "model SE", "coverage": "coverage"}
BY_LOOK = {"reject": "rejects here", "stop_futility": "futility", "look_time": "months", "n_enrolled": "patients", "n_events": "events"}

Row = dict[str, Any]


def plus_minus(estimate: float, mcse: float) -> str:
    """`0.902 ± 0.003`: both to the first digit of the standard error, at most five decimals; without one, as it is."""
    if mcse == 0:
        return f"{estimate:.0f}" if float(estimate).is_integer() else f"{estimate:.3f}"
    decimals = min(5, max(0, -math.floor(math.log10(mcse))))
    return f"{estimate:.{decimals}f} ± {mcse:.{decimals}f}"


def print_results(rows: Sequence[Row], console: Console | None = None) -> None:
    """Decisions and size; estimation; and decisions by look where a trial has several."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
    measures = {row["measure"] for row in rows}
    console.print(_table(rows, MAIN, counted="power"))
    if any(row["null"] and row["measure"] == "power" for row in rows):
        console.print("* type I error: the true effect lies in the null hypothesis", highlight=False)
    if "power_ignoring_futility" in measures:
        console.print("† had the non-binding futility rule been ignored", highlight=False)
    if "empirical_se" in measures:
        scales = dict.fromkeys(row["scale"] for row in rows if row["measure"] == "empirical_se")
        console.print(f"\nestimates ({', '.join(scales)})", highlight=False)
        console.print(_table(rows, ESTIMATION))
        counts = [row["n"] for row in rows if row["measure"] == "empirical_se" and row["look"] is None]
        console.print(f"over {_range(counts)} trials that gave an estimate", highlight=False)
    looks = range(1, max((row["look"] or 0 for row in rows), default=0) + 1)
    if len(looks) > 1:
        console.print("\nby look", highlight=False)
        console.print(_table(rows, BY_LOOK, looks, counted="look_time"))
        console.print("decisions are shares of all trials; the rest is over the trials that came to the look", highlight=False)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _table(rows: Sequence[Row], columns: Mapping[str, str], looks: Sequence[int | None] = (None,), counted: str | None = None) -> Table:
    """A row per cell, comparison and look; only the columns and labels that are needed.

    `counted`: the measure whose n is the number of trials shown.
    """
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["design"], row["scenario"]), []).append(row)
    comparisons = list(dict.fromkeys((row["analysis"], row["arm"], row["endpoint"]) for row in rows if row["analysis"] is not None))
    columns = {measure: title for measure, title in columns.items() if any(row["measure"] == measure and row["look"] in looks for row in rows)}
    names = {"design": {design for design, _ in cells} != {"default"}, "scenario": True, "analysis": len(comparisons) > 1}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name, wanted in names.items():
        if wanted:
            table.add_column(name, overflow="fold")
    for title in (*(() if looks == (None,) else ("look",)), *columns.values()):
        table.add_column(title, justify="right", no_wrap=True)
    if counted is not None:
        table.add_column("trials", justify="right", no_wrap=True)
    for (design, scenario), own in cells.items():
        for comparison in comparisons:
            analysis, arm, _ = comparison
            label = {"design": design, "scenario": scenario, "analysis": analysis if arm is None else f"{analysis}: {arm}"}
            first = True
            for look in looks:
                found = [_find(own, measure, comparison, look) for measure in columns]
                if any(row is not None for row in found):
                    ignoring = _find(own, "power_ignoring_futility", comparison, look)
                    table.add_row(
                        *(Text(label[name] if first else "") for name, wanted in names.items() if wanted),
                        *(() if look is None else (Text(str(look)),)),
                        *(_number(row, ignoring if row is not None and row["measure"] == "power" else None) for row in found),
                        *(() if counted is None else (_count(_find(own, counted, comparison, look)),)),
                    )
                    first = False
    return table


def _find(rows: Sequence[Row], measure: str, comparison: tuple[str, str | None, str | None], look: int | None) -> Row | None:
    """The comparison's row of this measure, or the trial's (events: of the comparison's endpoint)."""
    analysis, arm, endpoint = comparison
    for row in rows:
        if row["measure"] == measure and row["look"] == look:
            of_trial = row["analysis"] is None and row["arm"] is None and row["endpoint"] in (None, endpoint)
            if of_trial or (row["analysis"] == analysis and row["arm"] == arm):
                return row
    return None


def _count(row: Row | None) -> Text:
    return Text("" if row is None else f"{row['n']:,}")


def _number(row: Row | None, ignoring: Row | None) -> Text:
    if row is None:
        return Text("")
    scale = DAYS_PER_MONTH if row["scale"] == "days" else 1.0
    text = Text(plus_minus(row["estimate"] / scale, row["mcse"] / scale) + ("*" if row["null"] and row["measure"] == "power" else ""))
    if ignoring is not None:
        text.append(f"\n{plus_minus(ignoring['estimate'], ignoring['mcse'])}†", style="dim")
    return text
