"""`report.html`: one self-contained page about a finished run."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trialsim.errors import UsageError
from trialsim.report.curves import cohort_and_data
from trialsim.report.examples import example_cells
from trialsim.report.figures.boundaries import boundary_figures
from trialsim.report.headline import scope, tiles
from trialsim.report.notes import notes
from trialsim.report.prose import passages
from trialsim.report.reproducibility import reproducibility
from trialsim.report.source import FinishedRun, read_run
from trialsim.report.tables import Results, estimation_tables, full_cells, look_tables, power_tables, size_table

REPORT = "report.html"
_HERE = Path(__file__).parent


def write_report(run_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Writes the report of a complete run to `out` (default: `report.html` in the run's directory); returns its path.

    Raises UsageError where there is no run or `out` cannot be written, IncompleteRunError where it is not finished.
    """
    path = Path(run_dir)
    page = render(read_run(path))
    target = Path(out) if out is not None else path / REPORT
    temporary = target.with_name(f".{target.name}.writing-{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def render(run: FinishedRun) -> str:
    """The page."""
    results = Results(run.rows)
    context: dict[str, Any] = {
        "css": Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        "study": run.manifest["study"],
        "identification": run.described.protocol.study,
        "scope": scope(run),
        "tiles": tiles(run, results),
        "power": power_tables(results),
        "passages": passages(run.study, run.described),
        "sizes": size_table(results),
        "estimates": estimation_tables(results),
        "looks": look_tables(results),
        "boundaries": boundary_figures(run.described.protocol),
        "examples": example_cells(run),
        "cohort": cohort_and_data(run, results),
        "notes": notes(run),
        "cells": full_cells(results),
        "facts": reproducibility(run),
        "protocol": run.protocol_text,
    }
    return _environment().get_template("report.html.j2").render(context).lstrip()


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
