"""`trialsim validate`: is the protocol right, and can the engine run it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json
from trialsim_cli.run import assignments

from trialsim.errors import Problem, ProtocolError

SCHEMA = "trialsim.validation/1"


def as_dict(problem: Problem) -> dict[str, Any]:
    """A problem for `--json`."""
    return {"file": problem.file, "line": problem.line, "column": problem.column, "path": problem.path, "message": problem.message}


def note_line(note: Problem) -> str:
    """A note as the line a user sees."""
    return f"{note.file}:{note.line}:{note.column}  note: {note.message} ({note.path})"


@command
def validate(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML).")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The seed, instead of simulation.seed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check a protocol: every problem with its place, and notes on what the engine cannot run yet."""
    from trialsim.spec import load

    try:
        study = load(protocol, sets=assignments(set_, "--set"), seed=seed)
    except ProtocolError as error:
        if json:
            print_json({"schema": SCHEMA, "valid": False, "problems": [as_dict(problem) for problem in error.problems], "notes": []})
            raise typer.Exit(error.exit_code) from None
        raise
    notes = study.notes()
    if json:
        about = {"study": study.id, "cells": len(study.cells()), "protocol_sha256": study.sha256}
        print_json({"schema": SCHEMA, "valid": True, "problems": [], "notes": [as_dict(note) for note in notes], **about})
        return
    for note in notes:
        print(note_line(note))
    count = len(study.cells())
    print(f"ok: {study.id}, {count} {'cell' if count == 1 else 'cells'}, sha256 {study.sha256}")
