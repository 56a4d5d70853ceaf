"""How commands speak: data on stdout, messages on stderr, and an exit code for every kind of error."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from trialsim.errors import InvalidInputError, NotSupportedError, TrialsimError

P = ParamSpec("P")


def say(text: str) -> None:
    """A message for the user, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout. NaN is refused: what is undefined is left out or null."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1))


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turns what trialsim raises on purpose into plain lines on stderr and the exit code of the error."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except InvalidInputError as error:
            for problem in error.problems:
                say(str(problem))
            raise typer.Exit(error.exit_code) from None
        except NotSupportedError as error:
            for item in error.what:
                say(f"not supported yet: {item}")
            raise typer.Exit(error.exit_code) from None
        except TrialsimError as error:
            say(str(error))
            raise typer.Exit(error.exit_code) from None

    return wrapped
