"""`trialsim run`: simulate every cell of a protocol and report its operating characteristics."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

from trialsim.errors import ExpectationError, UsageError

INTERRUPTED = 130


@command
def run(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML).")],
    json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only these cells: scenario=base, design=n=500 or role=alternative (each at most once).")
    ] = None,
    replicates: Annotated[int | None, typer.Option("--replicates", min=1, help="Simulated trials per cell; default: the protocol's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random number; default: the protocol's.")] = None,
    executor: Annotated[str, typer.Option("--executor", help="local: this process or a pool of processes. ray: a local Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="With --executor ray: the cluster to work on (host:port, ray://host:port, auto); default: one of its own.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Worker processes. Default: local starts one per core when the run is long enough; ray uses every core."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where patients are simulated: cpu, cuda, or auto (cuda where this machine has it).")] = "cpu",
    gpu_share: Annotated[
        float | None, typer.Option("--gpu-share", help="With --executor ray --device cuda: the share of a GPU that a worker takes; default: a whole one.")
    ] = None,
    block_size: Annotated[
        int | None, typer.Option("--block-size", min=1, help="Replicates simulated at once. Changes speed and memory, never a number.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Directory of the run, new or empty, or a URL (s3://bucket/run); default: runs/<study>-<hash>-<time>.")
    ] = None,
    expect: Annotated[list[str] | None, typer.Option("--assert", help='Fail (exit 5) unless it holds: "power[base] >= 0.9" (may be repeated).')] = None,
) -> None:
    """Simulate every design under every scenario. The results do not depend on executor, workers or block size."""
    with_interrupt(lambda: _run(protocol, json, set_, only, replicates, seed, executor, address, workers, device, gpu_share, block_size, out, expect or []))


def _run(
    protocol: Path,
    json: bool,
    set_: list[str] | None,
    only: list[str] | None,
    replicates: int | None,
    seed: int | None,
    executor: str,
    address: str | None,
    workers: int | None,
    device: str,
    gpu_share: float | None,
    block_size: int | None,
    out: str | None,
    expect: list[str],
) -> None:
    from trialsim.evaluation.expectations import parse_expectation, unmet
    from trialsim.evaluation.results import ResultRow
    from trialsim.execution.manifest import Settings
    from trialsim.execution.progress import make_progress
    from trialsim.execution.run import start_run
    from trialsim.spec import load

    study = load(protocol, sets=assignments(set_, "--set"), seed=seed)
    cells = assignments(only, "--only")
    expectations = []
    if expect:
        names = [(cell.design, cell.scenario) for cell in study.cells(cells)]
        expectations = [parse_expectation(text, names) for text in expect]
    settings = Settings(
        executor=executor,
        address=address,
        workers=workers,
        device=device,
        gpu_share=gpu_share,
        block_size=block_size,
        command=("trialsim", *sys.argv[1:]),
    )
    path, results = start_run(study, only=cells, replicates=replicates, out=out, settings=settings, progress=make_progress())
    report(path, results, json=json)
    missed = unmet(expectations, [ResultRow(**row) for row in results["results"]])
    if missed:
        raise ExpectationError("\n".join(missed))


def with_interrupt(work: Callable[[], None]) -> None:
    """The first Ctrl-C (or polite kill) stops the work in good order, exit 130; more of them do not get in between."""
    kinds = (signal.SIGINT, signal.SIGTERM)

    def interrupt(*_: Any) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(kind, interrupt) for kind in kinds]
    interrupted = True
    try:
        work()
        interrupted = False
    except KeyboardInterrupt:
        say("interrupted before anything was stored")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        interrupted = getattr(error, "exit_code", None) == INTERRUPTED
        raise
    finally:
        if not interrupted:
            for kind, handler in zip(kinds, before, strict=True):
                signal.signal(kind, handler)


def report(path: Path | str, results: dict[str, Any], *, json: bool) -> None:
    """Writes the page into the run's directory; the results on stdout, where they are kept on stderr."""
    from trialsim_cli.report import write_page

    page = write_page(path)
    if json:
        print_json(results)
    else:
        from trialsim_cli.result_table import print_results

        print_results(results["results"])
    rate = results["replicates_per_second"]
    say(f"{path}: done in {results['wall_seconds']:.1f} s" + ("" if rate is None else f", {rate:,.0f} replicates/s") + f"; the report is {Path(page).name}")


def assignments(given: list[str] | None, option: str) -> dict[str, str]:
    """`["hr=0.8", …]` as a dictionary; what follows the first `=` is kept as written."""
    found: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f'{option} "{text}": write name=value')
        if key.strip() in found:
            raise UsageError(f"{option}: {key.strip()} is given twice")
        found[key.strip()] = value.strip()
    return found
