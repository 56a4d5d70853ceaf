"""A design as tables for the eye: bounds look by look, and what each scenario makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

DAYS_PER_MONTH = 30.4375
WIDTH = 120
Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


def _fixed(key: str, digits: int, scale: float = 1.0) -> Callable[[Row], str]:
    return lambda row: "" if row.get(key) is None else f"{row[key] / scale:.{digits}f}"


def _significant(key: str, digits: int) -> Callable[[Row], str]:
    return lambda row: "" if row.get(key) is None else f"{row[key]:.{digits}g}"


def _text(key: str) -> Callable[[Row], str]:
    return lambda row: "" if row.get(key) is None else str(row[key])


def _last(row: Row) -> str:
    return f"{row['cumulative_power'][-1]:.3f}"


def _by_look(key: str) -> Callable[[Row], str]:
    return lambda row: " ".join(f"{value:.3f}" for value in row[key])


LOOKS: tuple[Column, ...] = (
    ("design", _text("design")),
    ("analysis", _text("analysis")),
    ("arm", _text("arm")),
    ("look", _text("look")),
    ("information", _fixed("information_fraction", 3)),
    ("events", _text("n_events")),
    ("patients", _text("n")),
    ("months", _fixed("look_time", 1, DAYS_PER_MONTH)),
    ("efficacy z", _fixed("efficacy_z", 4)),
    ("p", _significant("efficacy_p", 4)),
    ("futility z", _fixed("futility_z", 4)),
    ("alpha spent", _fixed("cumulative_alpha", 5)),
    ("HR at bound", _fixed("hr_at_boundary", 3)),
)
SCENARIOS: tuple[Column, ...] = (
    ("design", _text("design")),
    ("scenario", _text("scenario")),
    ("analysis", _text("analysis")),
    ("arm", _text("arm")),
    ("power", _last),
    ("by look", _by_look("cumulative_power")),
    ("futility by look", _by_look("stop_futility")),
    ("patients", _fixed("expected_n", 1)),
    ("events", _fixed("expected_events", 1)),
    ("months", _fixed("expected_duration", 1, DAYS_PER_MONTH)),
)


def print_design(study: str, looks: Sequence[Row], scenarios: Sequence[Row], console: Console | None = None) -> None:
    """Bounds; then power and expected sizes where the protocol has a truth."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
    console.print(f"{study}: bounds", highlight=False)
    console.print(_table(LOOKS, looks))
    if any(row["look_time"] is not None for row in looks):
        console.print("months: when the look is expected under the first alternative scenario", highlight=False)
    if scenarios:
        console.print("\npower and expected size, without simulating", highlight=False)
        console.print(_table(SCENARIOS, scenarios))
        for method in dict.fromkeys(row["method"] for row in scenarios):
            console.print(f"method: {method}", highlight=False)


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """Only the columns in which a row has something to say."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = [[cell(row) for row in rows] for _, cell in columns]
    kept = [place for place, (title, _) in enumerate(columns) if any(cells[place]) and not (title == "design" and set(cells[place]) == {"default"})]
    for place in kept:
        title = columns[place][0]
        table.add_column(title, justify="left" if title in ("design", "scenario", "analysis", "arm") else "right", no_wrap=True, overflow="fold")
    for row in range(len(rows)):
        table.add_row(*(Text(cells[place][row]) for place in kept))
    return table
