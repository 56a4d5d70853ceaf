"""Reading declared bounds: a YAML map of column → [low, high] or [low, high, step]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from trialsim.cohort.fitted.private_cells import Bounds
from trialsim.errors import DataError, Problem


def load_bounds(path: Path | str, *, shown: str | None = None) -> dict[str, Bounds]:
    """The bounds in a file. Raises DataError with every problem, each with its line."""
    name = shown or str(path)
    try:
        given: Any = YAML(typ="rt").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=name)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(Problem(f"cannot be read: {error}", file=name)) from None
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        raise DataError(Problem("is not valid YAML", file=name, line=None if mark is None else mark.line + 1)) from None
    if not isinstance(given, dict):
        raise DataError(Problem("bounds are a map of column to [low, high] or [low, high, step]", file=name))
    lines: Any = getattr(given, "lc", None)
    found: dict[str, Bounds] = {}
    problems = []
    for column, numbers in given.items():
        line = lines.key(column)[0] + 1
        if not isinstance(numbers, list) or len(numbers) not in (2, 3) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers):
            problems.append(Problem(f'the bounds of "{column}" are not [low, high] or [low, high, step]', file=name, line=line))
            continue
        found[str(column)] = Bounds(*(float(x) for x in numbers))
        if wrong := found[str(column)].problem():
            problems.append(Problem(f'the bounds of "{column}" {wrong}', file=name, line=line))
    if problems:
        raise DataError(problems)
    return found
