"""`trialsim schema`: the language as a JSON Schema."""

from __future__ import annotations

from trialsim_cli.console import command, print_json


@command
def schema() -> None:
    """Print the JSON Schema (2020-12) of protocol files."""
    from trialsim.spec.schema import json_schema

    print_json(json_schema())
