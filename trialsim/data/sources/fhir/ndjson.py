"""NDJSON files as DuckDB reads them: one resource per line, how many of which type, and the place of what is wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from trialsim.data.shown_path import shown_path
from trialsim.data.staging import Staging
from trialsim.errors import DataError, Problem

NAMED = 20  # problems of one kind that are named with their lines; the others are counted
LONGEST = 64 * 1024 * 1024  # bytes of a line
_NEVER = "\x01"  # a byte that JSON does not allow, so that a line is one cell


@dataclass(frozen=True, slots=True)
class NdjsonFile:
    """A file of resources: `types` says how many lines there are of each; `only` is the type of every line, if it is one.

    Blank lines count as lines and hold nothing.
    """

    path: Path
    shown: str
    types: Mapping[str, int]
    only: str | None = None

    def resources(self, kind: str, shape: str) -> str:
        """A query of the lines with a resource of this type: `line` (from 1), `r` (a struct of `shape`) and `text`.

        The type is looked at where the file holds anything else; a filter on `r` would read the JSON twice.
        """
        which = "" if self.only == kind else f" WHERE try(json_extract_string(text, '$.resourceType')) = '{kind}'"
        return f"SELECT line, try(json_transform(text, '{shape}')) AS r, text FROM ({_lines(self.path)}){which}"


def files_below(paths: list[Path]) -> list[Path]:
    """The files, with folders replaced by the NDJSON files in them. Raises DataError for a folder without any."""
    found: list[Path] = []
    for path in paths:
        inside = sorted((*path.glob("*.ndjson"), *path.glob("*.ndjson.gz"))) if path.is_dir() else [path]
        if not inside:
            raise DataError(Problem("the folder holds no .ndjson or .ndjson.gz files", file=shown_path(path)))
        found += inside
    return found


def open_file(staging: Staging, path: Path) -> NdjsonFile:
    """Reads through a file once to count its resources by type, and notes every line that holds none."""
    import duckdb

    shown = shown_path(path)
    typed = f"SELECT line, text, try(json_extract_string(text, '$.resourceType')) AS type FROM ({_lines(path)})"
    try:
        counted = staging.connection.execute(f"SELECT type, count(*), max(line) FROM ({typed}) GROUP BY type").fetchall()
    except duckdb.Error as error:
        line, message = _unreadable(path, str(error))
        staging.problem(message, file=shown, line=line)
        return NdjsonFile(path, shown, {})
    types = {kind: n for kind, n, _ in counted if kind is not None}
    if len(types) < len(counted):
        last = max(line for *_, line in counted)
        bad = f"SELECT line, text FROM ({typed}) WHERE type IS NULL AND trim(text, ' \t\r') <> ''"
        note(staging, shown, [(line, _no_resource(text, last=line == last)) for line, text in staging.connection.execute(bad).fetchmany(NAMED + 1)])
        (found,) = cast("tuple[int]", staging.connection.execute(f"SELECT count(*) FROM ({bad})").fetchone())
        if found > NAMED + 1:
            staging.problem(f"{found} lines of the file hold no resource", file=shown)
        if not types and not found:
            staging.problem("the file is empty", file=shown)
    elif not counted:
        staging.problem("the file is empty", file=shown)
    if "Bundle" in types:
        staging.problem("holds a Bundle, where bulk NDJSON has one resource per line without one", file=shown)
    return NdjsonFile(path, shown, types, next(iter(types)) if len(types) == len(counted) == 1 else None)


def note(staging: Staging, shown: str, found: list[tuple[int, str]]) -> None:
    """Notes problems of one kind in a file, (line, message) each: the first by their lines, and how many more there are."""
    for line, message in found[:NAMED]:
        staging.problem(message, file=shown, line=line)
    if len(found) > NAMED:
        line, message = found[NAMED]
        staging.problem(f"and in {len(found) - NAMED} or more lines from here on: {message}", file=shown, line=line)


def _lines(path: Path) -> str:
    """A query of the lines of a file, compressed or not, with their numbers; a blank line has a null text."""
    place = str(path).replace("'", "''").replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    options = f"auto_detect = false, header = false, delim = '{_NEVER}', quote = '', escape = '', max_line_size = {LONGEST}"
    return f"SELECT row_number() OVER () AS line, text FROM read_csv('{place}', columns = {{'text': 'VARCHAR'}}, {options})"


def _no_resource(text: str, *, last: bool) -> str:
    """What is wrong with a line whose resourceType cannot be read."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if last and (error.pos >= len(text) or not text.rstrip().endswith("}")):
            return "the last line is cut off: it is not a whole JSON object"
        return f"the line is not valid JSON: {error}"
    if not isinstance(found, dict):
        return "the line is not a JSON object"
    return "the resource has no resourceType" if found.get("resourceType") is None else "the line is not valid JSON"


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


def _unreadable(path: Path, reason: str) -> tuple[int | None, str]:
    """The line and the words for a file that cannot be split into lines of text, by reading it line by line up to there."""
    number, ends = 0, set()
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                ends.add(line.endswith(b"\r\n"))
                if len(ends) > 1 and line.endswith(b"\n"):
                    return number, "the line ends in another way (LF or CRLF) than those before it"
                if len(line) > LONGEST:
                    return number, f"the line is longer than {LONGEST // 2**20} MiB"
                if _NEVER.encode() in line:
                    return number, "the line is not valid JSON: it holds a control character"
                line.decode("utf-8")
    except UnicodeDecodeError as error:
        return number, f"the line is not UTF-8 text (byte {error.start + 1})"
    except EOFError:
        return number + 1, "the compressed file is cut off"
    except (OSError, ValueError) as error:
        return None, f"cannot be read: {error}"
    return None, f"cannot be read: {' '.join(reason.split())[:200]}"
