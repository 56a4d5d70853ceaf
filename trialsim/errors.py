"""What trialsim raises on purpose, and the exit code each becomes at the command line.

    TrialsimError                1
    ├── UsageError               2   the command was called wrongly
    ├── InvalidInputError        3   a protocol or data file is wrong: carries one or more Problems
    │   ├── ProtocolError        3
    │   └── DataError            3
    ├── NotSupportedError        3   the language says it, the engine cannot do it yet
    ├── IncompleteRunError       4   resumable
    └── ExpectationError         5   an --assert that does not hold

Kernels trust their inputs; everything here is raised at the edges.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place. `str()` is the plain line a user sees."""

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part not in (None, ""))
        words = f"{self.path}: {self.message}" if self.path else self.message
        return f"{place}  {words}" if place else words


class TrialsimError(Exception):
    """The root of everything raised on purpose."""

    exit_code = 1


class UsageError(TrialsimError):
    exit_code = 2


class InvalidInputError(TrialsimError):
    """Wrong input. Holds every problem found, not only the first."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem] | Problem | str):
        if isinstance(problems, str):
            problems = (Problem(problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # so that it crosses from a worker process whole


class ProtocolError(InvalidInputError):
    """The protocol cannot be read, or says something that cannot be."""


class DataError(InvalidInputError):
    """A data file or its card cannot be used as asked."""


class NotSupportedError(TrialsimError):
    """Valid in the language, but the engine cannot run it yet. Never ignored silently."""

    exit_code = 3

    def __init__(self, what: Sequence[str] | str):
        self.what: tuple[str, ...] = (what,) if isinstance(what, str) else tuple(what)
        super().__init__("\n".join(f"not supported yet: {item}" for item in self.what))

    def __reduce__(self) -> tuple[type[NotSupportedError], tuple[tuple[str, ...]]]:
        return type(self), (self.what,)


class IncompleteRunError(TrialsimError):
    exit_code = 4


class ExpectationError(TrialsimError):
    exit_code = 5


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word closest to `word`, or None when nothing is close."""
    found = difflib.get_close_matches(str(word), list(allowed), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean "ratio"?` when something is close, else `; allowed: a, b, c`; nothing where nothing is allowed."""
    options = sorted(allowed)
    if not options:
        return ""
    match = nearest(word, options)
    return f'; did you mean "{match}"?' if match else f"; allowed: {', '.join(options)}"
