"""`trialsim report`: a finished run as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command


@command
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a complete run.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page to write; default: report.html in the run's directory.")] = None,
) -> None:
    """Write report.html: the design in words, operating characteristics, boundaries, survival curves, how to get the same numbers again."""
    from trialsim.report import write_report

    print(write_report(run_dir, out))
