"""Cells of data files: what counts as missing, as a number, as true; and the place of a row in its file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "."})
TRUTH = {"true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0}


def number(cell: Any, *, binary: bool = False) -> float | None:
    """The cell as a number, None where it is not one; with `binary`, true and false are 1 and 0."""
    if binary and isinstance(cell, str) and cell in TRUTH:
        return TRUTH[cell]
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name."""
    return path.suffix.lower() in (".parquet", ".pq")


def place_of_row(path: Path, shown: str, row: int) -> dict[str, Any]:
    """The line of a row (from 0) of a CSV file; the number of the row of a Parquet file."""
    if is_parquet(path):
        return {"file": f"{shown} row {row + 1}"}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        found = -2
        for cells in rows:
            found += bool(cells)
            if found == row:
                return {"file": shown, "line": rows.line_num}
    return {"file": shown}


def unclosed_quote(path: Path) -> int | None:
    """The line of the row whose quoted cell a CSV file does not close before it ends (readers take what is left as that cell); None where all are."""
    if path.read_bytes().count(b'"') % 2 == 0:
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = file.readlines()
    rows, first, following = csv.reader(lines), 1, 1
    try:
        for _ in rows:
            first, following = following, rows.line_num + 1
        list(csv.reader(lines[first - 1 :], strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            return first
        if "field larger" in str(error):  # what is left is long
            return following
    return None
