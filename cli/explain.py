"""`trialsim explain`: the protocol as prose a statistician would sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from trialsim_cli.console import command, print_json
from trialsim_cli.run import assignments


@command
def explain(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML).")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the passages as one JSON object.")] = False,
) -> None:
    """Print the protocol as prose, critical values included."""
    from trialsim.report.prose import as_text, passages
    from trialsim.spec import load

    found = passages(load(protocol, sets=assignments(set_, "--set")))
    if json:
        print_json({"schema": "trialsim.explain/1", "passages": [{"title": passage.title, "paragraphs": list(passage.paragraphs)} for passage in found]})
    else:
        print(as_text(found), end="")
