"""`trialsim resolve`: the protocol with nothing left to guess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command, print_json
from trialsim_cli.run import assignments


@command
def resolve(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML).")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The seed, instead of simulation.seed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the fully explicit form: defaults filled in, short forms expanded. It is itself a protocol, with the same hash."""
    from trialsim.spec import load
    from trialsim.spec.resolution import to_yaml

    resolved = load(protocol, sets=assignments(set_, "--set"), seed=seed).resolved()
    if json:
        print_json(resolved)
    else:
        print(to_yaml(resolved), end="")
