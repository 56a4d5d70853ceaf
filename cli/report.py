"""`trialsim report`: a finished run as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command


@command
def report(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="The directory of a complete run, or its URL.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page to write; default: report.html in the run's directory.")] = None,
) -> None:
    """Write report.html: the design in words, operating characteristics, boundaries, survival curves, how to get the same numbers again."""
    print(write_page(run_dir, out))


def write_page(where: Path | str, out: Path | None = None) -> Path | str:
    """The page of a run that lies in a directory or at a URL; by default beside its results."""
    from trialsim.execution.keep import EXAMPLES
    from trialsim.execution.store import open_directory
    from trialsim.report import write_report

    directory = open_directory(where)
    with directory.on_disk(of_cells=(EXAMPLES,)) as folder:
        page = write_report(folder, out)
        if out is not None or folder == directory.path:
            return page
        directory.write_text(page.name, page.read_text(encoding="utf-8"))
        return f"{directory.path}/{page.name}"
