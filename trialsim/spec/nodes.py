"""A protocol as written: a tree of values, each with the place in the file where it stands.

Every error names a place, so the tree is kept until the typed protocol is valid. A node that came from a parameter stands
where its `$name` is used and remembers where the parameter got its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialsim.errors import Problem

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Setting:
    """Who gave a parameter its value: the section `parameters`, `--set`, a design or a scenario."""

    name: str
    by: str = ""
    place: Place | None = None

    def words(self, file: str) -> str:
        """`parameter hr, line 12`, as an error that is placed in `file` names it."""
        where = None if self.place is None else f"line {self.place.line}" if self.place.file == file else f"{self.place.file}:{self.place.line}"
        return ", ".join(word for word in (f"parameter {self.name}", self.by, where) if word)


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands, where its key stands, and the parameter it came from."""

    value: Scalar | dict[str, Node] | tuple[Node, ...]
    place: Place
    key_place: Place | None = None
    setting: Setting | None = field(default=None, compare=False)

    def get(self, key: str | int) -> Node | None:
        """The child under a key or index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, tuple) and isinstance(key, int) and -len(self.value) <= key < len(self.value):
            return self.value[key]
        return None

    @property
    def spot(self) -> Place:
        """Where an error about the whole value points: the key of a map and of a null, otherwise the value itself."""
        return self.key_place if (self.value is None or isinstance(self.value, dict)) and self.key_place is not None else self.place


@dataclass(frozen=True, slots=True)
class Found:
    """Something wrong (or to be noted) at a path of the protocol, not yet placed. `on_key` points at the key."""

    path: Path
    message: str
    on_key: bool = False


def dotted(path: Sequence[str | int]) -> str:
    """`analyses.primary.covariates[0]`."""
    words = ""
    for step in path:
        words += f"[{step}]" if isinstance(step, int) else f".{step}" if words else str(step)
    return words


def plain(node: Node) -> Any:
    """The value alone: maps, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(child) for child in node.value]
    return node.value


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every scalar below `node` with its path, in the order of the file."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from scalars(child, (*path, key))
    elif isinstance(node.value, tuple):
        for index, child in enumerate(node.value):
            yield from scalars(child, (*path, index))
    else:
        yield path, node


def descend(root: Node, path: Path) -> tuple[Node, bool]:
    """The node at `path`, or the deepest one on the way to it, and whether the whole path exists."""
    node = root
    for step in path:
        child = node.get(step)
        if child is None:
            return node, False
        node = child
    return node, True


def place_problem(root: Node, found: Found) -> Problem:
    """`found` with its file, line and column; what came from a parameter names the parameter too."""
    node, complete = descend(root, found.path)
    place = node.key_place if found.on_key and complete and node.key_place is not None else node.spot
    message = f"{found.message} ({node.setting.words(place.file)})" if node.setting is not None else found.message
    return Problem(message, dotted(found.path), place.file, place.line, place.column)


def place_problems(root: Node, found: Sequence[Found]) -> list[Problem]:
    return [place_problem(root, item) for item in found]


def in_order(problems: Sequence[Problem], first: str = "") -> tuple[Problem, ...]:
    """Each distinct problem once, in the order of the file; those in the file `first` before those in others."""
    distinct: Mapping[tuple[Any, ...], Problem] = {(p.file, p.line, p.column, p.path, p.message): p for p in problems}
    return tuple(sorted(distinct.values(), key=lambda p: (p.file != first, p.file, p.line or 0, p.column or 0, p.path, p.message)))
