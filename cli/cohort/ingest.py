"""`trialsim cohort ingest`: declared sources become one row per person and a dataset card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

from trialsim.errors import UsageError

if TYPE_CHECKING:
    from trialsim.data.ingest import Ingested


@command
def ingest(
    sources: Annotated[Path, typer.Argument(help="SOURCES.yaml: sources, linkage, code lists, index event and features.")],
    out: Annotated[Path | None, typer.Option("--out", help="The folder for patients.parquet and patients.card.yaml.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Read and report; write nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write anew what is there already.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read real-world data, link persons, and write one row per person with a dataset card; or say everything that is wrong and write nothing."""
    if check == (out is not None):
        raise UsageError("give either --out DIR or --check")
    from trialsim.data.ingest import ingest as read
    from trialsim.data.ingest import refuse_taken, write
    from trialsim.data.shown_path import shown_path

    if out is not None:
        refuse_taken(out, replace=replace)
    found = read(sources)
    written = [] if out is None else [shown_path(file) for file in write(found, out, replace=replace)]
    if json:
        print_json({"written": written, "rows": found.table.num_rows, **found.report})
        return
    _print(found)
    for file in written:
        print(f"wrote {file}")
    if check:
        say("checked; nothing was written")


def _print(found: Ingested) -> None:
    """The filters of every source, the flow of persons, and the columns."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    report = found.report
    console.print(
        _table(("source", "step", "rows"), [(name, item["step"], item["n"]) for name, source in report["sources"].items() for item in source["filters"]])
    )
    console.print()
    console.print(_table(("persons", "n"), [(item["step"], item["n"]) for item in report["persons"]]))
    if "consent" in report:
        consent = report["consent"]
        rows = [(f"permit {purpose}", n) for purpose, n in consent["persons permitting"].items()]
        console.print()
        console.print(
            _table((f"consent as of {consent['as_of']}", "n"), [*rows, ("have contradicting records", consent["persons with contradicting records"])])
        )
    console.print()
    columns = [(name, meaning.type, meaning.unit, report["columns"].get(name, {}).get("missing", 0)) for name, meaning in found.card.columns.items()]
    console.print(_table(("column", "type", "unit", "missing"), columns))


def _table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    """The last column is a number; names are shown once."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles[:-1]:
        table.add_column(title, overflow="fold")
    table.add_column(titles[-1], justify="right", no_wrap=True)
    before = None
    for first, *others, last in rows:
        table.add_row(Text("" if first == before and len(titles) == 3 else str(first)), *(Text(str(cell)) for cell in others), Text(f"{last:,}"))
        before = first
    return table
