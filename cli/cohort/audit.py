"""`trialsim cohort audit`: the audit log, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

SCHEMA = "trialsim.cohort_audit/1"


@command
def audit(
    file: Annotated[Path | None, typer.Argument(help="The log; default: $TRIALSIM_AUDIT, else cohort-audit.jsonl here.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes; exit 3 with every broken line named.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the audit log of cohorts: what was done to which data and models, by whom, when."""
    from trialsim.data.governance import audit as log

    path = file or log.default_path(Path.cwd())
    problems = log.verify(path) if verify else []
    entries = [] if problems else log.entries(path)
    if json:
        print_json(
            {
                "schema": SCHEMA,
                "file": str(path),
                "verified": None if not verify else not problems,
                "problems": [{"file": problem.file, "line": problem.line, "message": problem.message} for problem in problems],
                "head": entries[-1].hash if entries else None,
                "entries": [entry.as_dict() for entry in entries],
            }
        )
    elif verify and not problems:
        print(f"ok: {len(entries)} {'entry' if len(entries) == 1 else 'entries'}, head {entries[-1].hash if entries else 'none'}")
    else:
        for entry in entries:
            print("  ".join([str(entry.sequence), *map(_printable, (entry.time, entry.actor, entry.action)), *_details(entry.details)]))
    for problem in problems:
        say(str(problem))
    if problems:
        raise typer.Exit(3)


def _details(details: Mapping[str, Any]) -> list[str]:
    """key=JSON of each detail; a list of more than 8 is shown as its length (--json shows everything)."""
    return [f"{_printable(key)}={dumps(_short(value), ensure_ascii=True)}" for key, value in details.items()]


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return f"[{len(value)} items]" if len(value) > 8 else [_short(item) for item in value]
    return value


def _printable(text: str) -> str:
    """On one line, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
