"""`trialsim doctor`: what is installed here, what the machine has, and whether Ray is within reach."""

from __future__ import annotations

from typing import Annotated

import typer
from trialsim_cli.console import command, print_json


@command
def doctor(
    address: Annotated[
        str | None, typer.Option("--address", help="The Ray cluster to look for: auto, HOST:6379 or http://HOST:8265; default: RAY_ADDRESS, else auto.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed, what this machine has, and whether a Ray cluster is within reach."""
    from trialsim.execution.doctor import examine

    found = examine(address)
    if json:
        print_json(found.as_dict())
        return
    print(f"python        {found.python} on {found.platform}")
    for name, version in found.versions.items():
        print(f"{name:<13} {version or 'not installed'}")
    print(f"cores         {found.cores}")
    print(f"memory        {_gib(found.memory_bytes)}, {_gib(found.memory_free_bytes)} free")
    print(f"torch         {found.torch_threads} threads, {found.instructions}")
    print(f"cuda          {found.cuda or 'none'}")
    print(f"cache         {found.cache}{'' if found.cache_writable else ' (cannot be written)'}")
    print(f"ray cluster   {found.ray_address}: {'' if found.ray_reachable else 'not reachable: '}{found.ray}")


def _gib(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 2**30:.1f} GiB"
