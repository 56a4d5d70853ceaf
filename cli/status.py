"""`trialsim status`: how far a run is."""

from __future__ import annotations

from typing import Annotated

import typer
from trialsim_cli.console import command, print_json

WORDS = {
    "running": "running",
    "complete": "complete",
    "incomplete": "incomplete; continue with `trialsim resume {path}`",
    "failed": "failed: {error}",
}


@command
def status(
    directory: Annotated[str, typer.Argument(help="The directory of the run, or its URL.")],
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Read every chunk and compare its checksum. Default: in a local directory only.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how a run stands, and how many replicates of each cell are stored."""
    from trialsim.execution.status import run_status

    found = run_status(directory, verify=verify)
    if json:
        print_json(found.as_dict())
        return
    print(f"{found.study}, started {found.started}: {WORDS[found.state].format(path=found.path, error=found.error)}")
    for cell in found.cells:
        name = cell.scenario if cell.design == "default" else f"{cell.design}, {cell.scenario}"
        print(f"  {name}: {cell.stored:,} of {cell.replicates:,} replicates")
    for wrong in found.damaged:
        print(f"  {wrong}; `trialsim resume {found.path}` computes it again")
