"""Checks of how a law or a profile is written, one clear sentence each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from pydantic_core import PydanticCustomError

from trialsim.parts import Part


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def require_one(part: Part, law: str, options: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The one parametrisation of `options` that `part` is given in; an error names what was given instead."""
    names = [name for option in options for name in option]
    given = tuple(name for name in names if getattr(part, name) is not None)
    for option in options:
        if given == option:
            return option
    allowed = listed([" + ".join(option) for option in options], "or")
    count = "exactly one of " if len(options) > 1 else ""
    raise PydanticCustomError("parametrisation", "{text}", {"text": f"{law} needs {count}{allowed}; {listed(given) + ' given' if given else 'none given'}"})


def check_pieces(untils: Sequence[float | None], what: str) -> None:
    """Every piece but the last has `until`, the last has none, and ends do not decrease (a piece may have length zero)."""
    if not untils:
        raise PydanticCustomError("pieces", "{text}", {"text": f"{what} needs at least one piece"})
    if untils[-1] is not None:
        raise PydanticCustomError("pieces", "{text}", {"text": f"the last piece of {what} must have no until: it continues for ever"})
    ends = [until for until in untils[:-1] if until is not None]
    if len(ends) < len(untils) - 1:
        raise PydanticCustomError("pieces", "{text}", {"text": f"every piece of {what} but the last needs until"})
    for earlier, later in itertools.pairwise(ends):
        if later < earlier:
            raise PydanticCustomError(
                "pieces", "{text}", {"text": f"the pieces of {what} must be in order of time; until {later:g} days follows until {earlier:g} days"}
            )


def merge_pieces(untils: Sequence[float | None], values: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(breaks, values) without pieces of length zero and with equal neighbours joined; len(values) = len(breaks) + 1."""
    breaks: list[float] = []
    kept: list[float] = []
    start = 0.0
    for until, value in zip(untils, values, strict=True):
        end = math.inf if until is None else until
        if end <= start:
            continue
        if kept and kept[-1] == value:
            breaks.pop()
        else:
            kept.append(value)
        breaks.append(end)
        start = end
    return tuple(breaks[:-1]), tuple(kept)
