"""`trialsim resume`: finish a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command
from trialsim_cli.run import report, with_interrupt


@command
def resume(
    directory: Annotated[Path, typer.Argument(help="The directory of the run.")],
    json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    executor: Annotated[str, typer.Option("--executor", help="local or ray; need not be what the run began with.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes; see `trialsim run --help`.")] = None,
    block_size: Annotated[int | None, typer.Option("--block-size", min=1, help="Replicates simulated at once.")] = None,
) -> None:
    """Compute what is missing and finish: the same results, bit for bit, as if nothing had happened."""
    with_interrupt(lambda: _resume(directory, json, executor, workers, block_size))


def _resume(directory: Path, json: bool, executor: str, workers: int | None, block_size: int | None) -> None:
    from trialsim.execution.manifest import Settings
    from trialsim.execution.progress import make_progress
    from trialsim.execution.run import resume_run

    path, results = resume_run(directory, settings=Settings(executor=executor, workers=workers, block_size=block_size), progress=make_progress())
    report(path, results, json=json)
