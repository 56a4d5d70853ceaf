"""`trialsim plan`: what a run would take, without making it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

WIDTH = 120
BINDS = {"target_mcse": "precise by then", "replicates": "ceiling"}


@command
def plan(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML).")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only these cells: scenario=base, design=n=500 or role=alternative (each at most once).")
    ] = None,
    replicates: Annotated[int | None, typer.Option("--replicates", min=1, help="Simulated trials per cell; default: the protocol's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random number; default: the protocol's.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes; default: as `trialsim run` would choose.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where patients would be simulated: cpu, cuda or auto.")] = "cpu",
    block_size: Annotated[int | None, typer.Option("--block-size", min=1, help="Replicates simulated at once.")] = None,
) -> None:
    """Say how many replicates each cell takes, how long the run would last, and what memory and disk it needs: a dry run.

    A few hundred replicates of every cell are simulated to find out; nothing is kept.
    """
    from trialsim_cli.run import assignments

    from trialsim.execution.plan import plan_run
    from trialsim.spec import load

    study = load(protocol, sets=assignments(set_, "--set"), seed=seed)
    found = plan_run(
        study,
        only=assignments(only, "--only"),
        replicates=replicates,
        workers=workers,
        block_size=block_size,
        device=device,
        progress=None if json else say,
    ).as_dict()
    if json:
        print_json(found)
    else:
        print_plan(found)


def print_plan(found: dict[str, Any]) -> None:
    """A row per cell, and the run in one line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    designs = {cell["design"] for cell in found["cells"]} != {"default"}
    targets = any(cell["target_mcse"] for cell in found["cells"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in (*(("design",) if designs else ()), "scenario"):
        table.add_column(title, overflow="fold")
    for title in ("replicates", *(("of at most", "expected MCSE (target)", "stops when") if targets else ()), "time", "disk"):
        table.add_column(title, justify="right")
    for cell in found["cells"]:
        table.add_row(
            *((Text(cell["design"]),) if designs else ()),
            Text(cell["scenario"]),
            f"{cell['replicates']:,}",
            *((f"{cell['ceiling']:,}", Text("\n".join(map(_target, cell["target_mcse"]))), BINDS[cell["binds"]]) if targets else ()),
            duration(cell["seconds"]),
            size(cell["disk_bytes"]),
        )
    console.print(table)
    workers = found["workers"]
    console.print(
        f"\n{found['replicates']:,} replicates in {len(found['cells'])} cell{'' if len(found['cells']) == 1 else 's'}: about {duration(found['wall_seconds'])} "
        f"with {workers} worker{'' if workers == 1 else 's'}, {size(found['memory_bytes'])} of memory each, {size(found['disk_bytes'])} on disk",
        highlight=False,
        soft_wrap=True,
    )


def _target(target: dict[str, Any]) -> str:
    days = " d" if target["measure"].startswith("duration") else ""
    expected = "?" if target["expected_mcse"] is None else f"{target['expected_mcse']:.2g}"
    return f"{target['measure']} {expected}{days} ({target['target']:g}{days})"


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(n: float) -> str:
    """`12 kB`, `3.4 MB`, `1.2 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if n >= scale:
            return f"{n / scale:.1f} {unit}"
    return f"{n / 1e3:.0f} kB"
