"""`trialsim resume`: finish a run that was interrupted."""

from __future__ import annotations

from typing import Annotated

import typer
from trialsim_cli.console import command
from trialsim_cli.run import report, with_interrupt


@command
def resume(
    directory: Annotated[str, typer.Argument(help="The directory of the run, or its URL.")],
    json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    replicates: Annotated[int | None, typer.Option("--replicates", min=1, help="Let every cell grow to so many; what is stored is kept.")] = None,
    executor: Annotated[str, typer.Option("--executor", help="local or ray; need not be what the run began with.")] = "local",
    address: Annotated[str | None, typer.Option("--address", help="With --executor ray: the cluster to work on; see `trialsim run --help`.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes; see `trialsim run --help`.")] = None,
    gpu_share: Annotated[float | None, typer.Option("--gpu-share", help="Of a run on CUDA, with --executor ray; see `trialsim run --help`.")] = None,
    block_size: Annotated[int | None, typer.Option("--block-size", min=1, help="Replicates simulated at once.")] = None,
) -> None:
    """Compute what is missing and finish: the same results, bit for bit, as if nothing had happened. The device is the run's."""
    with_interrupt(lambda: _resume(directory, json, replicates, executor, address, workers, gpu_share, block_size))


def _resume(
    directory: str,
    json: bool,
    replicates: int | None,
    executor: str,
    address: str | None,
    workers: int | None,
    gpu_share: float | None,
    block_size: int | None,
) -> None:
    from trialsim.execution.manifest import Settings
    from trialsim.execution.progress import make_progress
    from trialsim.execution.run import resume_run

    settings = Settings(executor=executor, address=address, workers=workers, gpu_share=gpu_share, block_size=block_size)
    path, results = resume_run(directory, settings=settings, replicates=replicates, progress=make_progress())
    report(path, results, json=json)
