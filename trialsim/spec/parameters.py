"""`$name` stands for a whole value from `parameters`, which may be anything; there are no expressions.

Precedence: `parameters` < `--set` < design < scenario. A parameter whose value is `null` makes the key (or list entry)
absent. A value may itself contain `$other`. What came from a parameter is placed where its `$name` is used, so that an
error points at the use and names the line where the parameter got its value.

`{from: 300, to: 2000, by: 100}` abbreviates a list wherever it stands; the bounds are included.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from trialsim.errors import Problem, ProtocolError, UsageError, did_you_mean
from trialsim.spec.loading import compose, scalar
from trialsim.spec.nodes import Found, Node, Path, Place, Setting, dotted

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)$")
_EXPRESSION = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\s*[-+*/^(]")
_WITH_UNIT = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Assigned:
    """The value of a parameter and who gave it."""

    node: Node
    setting: Setting


Environment = Mapping[str, Assigned]


def is_name(text: str) -> bool:
    """Whether `$text` can stand for a parameter."""
    return _NAME.fullmatch(text) is not None


def used_name(node: Node) -> str | None:
    """The parameter that a node stands for, when it is a `$name`."""
    match = _USE.match(node.value) if isinstance(node.value, str) else None
    return match[1] if match else None


def mentioned_name(node: Node) -> str | None:
    """The parameter that a node is about, also where it is (wrongly) part of an expression."""
    match = (_USE.match(node.value) or _EXPRESSION.match(node.value)) if isinstance(node.value, str) else None
    return match[1] if match else None


def declared(section: Node | None) -> tuple[dict[str, Assigned], list[Found]]:
    """The section `parameters`."""
    if section is None or section.value is None:
        return {}, []
    if not isinstance(section.value, dict):
        return {}, [Found(("parameters",), "should be a map of names to values")]
    found = [Found(("parameters", name), "a parameter's name is made of letters, digits and _", on_key=True) for name in section.value if not is_name(name)]
    return {name: Assigned(node, Setting(name, "", node.key_place)) for name, node in section.value.items()}, found


def node_of(value: Any, place: Place) -> Node:
    """A Python value (given by a caller instead of a file) as nodes that all stand at `place`."""
    if isinstance(value, Mapping):
        return Node({str(key): node_of(item, place) for key, item in value.items()}, place, place)
    if isinstance(value, list | tuple):
        return Node(tuple(node_of(item, place) for item in value), place)
    return Node(value, place)


def parse_set(name: str, value: Any) -> Node:
    """The value of `--set name=value`: text is read as YAML, anything else is taken as it is."""
    place = Place(f"--set {name}", 1, 1)
    if not isinstance(value, str):
        return node_of(value, place)
    try:
        node = compose(value, place.file)
    except ProtocolError as error:
        raise UsageError(f"--set {name}={value}: {error.problems[0].message}") from None
    return Node(None, place) if node is None else node


def with_sets(parameters: Environment, sets: Mapping[str, Any], known: Iterable[str]) -> dict[str, Assigned]:
    """`parameters` overridden by `--set`. Raises UsageError for a name the protocol does not use."""
    result = dict(parameters)
    names = set(known)
    for name, value in sets.items():
        if name not in names:
            raise UsageError(f'--set {name}: the protocol has no parameter "{name}"' + (did_you_mean(name, names) if names else ""))
        result[name] = Assigned(parse_set(name, value), Setting(name, "--set"))
    return result


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


KEEP_ALL = _Everything()
"""Keeps every `$name`; only lists are written out."""


@dataclass(slots=True)
class Substitution:
    """One pass over the protocol that replaces every `$name`; collects what is wrong.

    Names in `keep` stay as `$name`, as `resolve` prints them.
    """

    environment: Environment
    keep: Container[str] = frozenset()
    known: frozenset[str] = frozenset()
    cell: str = ""
    failed: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def apply(self, node: Node) -> Node:
        result = self._expand(node, (), None, ())
        return result if result is not None else replace(node, value={})

    def _expand(self, node: Node, path: Path, from_: tuple[Place, Setting] | None, stack: tuple[str, ...]) -> Node | None:
        name = used_name(node)
        if name is not None:
            return self._use(name, node, path, from_, stack)
        moved = node if from_ is None else replace(node, place=from_[0], key_place=from_[0] if path and isinstance(path[-1], str) else None, setting=from_[1])
        if isinstance(node.value, dict):
            children = {key: self._expand(child, (*path, key), from_, stack) for key, child in node.value.items()}
            return self._listed(replace(moved, value={key: child for key, child in children.items() if child is not None}), path, from_)
        if isinstance(node.value, tuple):
            items = (self._expand(child, (*path, index), from_, stack) for index, child in enumerate(node.value))
            return replace(moved, value=tuple(item for item in items if item is not None))
        if isinstance(node.value, str) and _EXPRESSION.match(node.value):
            self._wrong(f'"{node.value}" is not a value; $name stands for a whole value, there are no expressions', path, moved.place, from_)
        return moved

    def _use(self, name: str, node: Node, path: Path, from_: tuple[Place, Setting] | None, stack: tuple[str, ...]) -> Node | None:
        place = from_[0] if from_ is not None else node.place
        standing = replace(node, place=place) if from_ is None else replace(node, place=place, key_place=place, setting=from_[1])
        if name in self.keep:
            return standing
        if name in stack:
            self._wrong(f"${name} is defined by itself: {' -> '.join(f'${step}' for step in (*stack, name))}", path, place, from_)
            return None
        if name not in self.environment:
            hint = f"${name} has no value under {self.cell}; give it one in parameters" if name in self.known else self._unknown(name)
            self._wrong(hint, path, place, from_)
            return None
        assigned = self.environment[name]
        value = self._expand(assigned.node, path, (place, assigned.setting), (*stack, name))
        if value is None or value.value is None:
            return None
        return value if from_ is not None else replace(value, key_place=node.key_place)

    def _unknown(self, name: str) -> str:
        names = self.known | set(self.environment)
        return f"unknown parameter ${name}" + (did_you_mean(name, names).replace('"', '"$', 1) if names else "; there are no parameters")

    def _wrong(self, message: str, path: Path, place: Place, from_: tuple[Place, Setting] | None) -> None:
        suffix = f" ({from_[1].words(place.file)})" if from_ is not None else ""
        self.failed.append(path)
        self.problems.append(Problem(message + suffix, dotted(path), place.file, place.line, place.column))

    def _listed(self, node: Node, path: Path, from_: tuple[Place, Setting] | None) -> Node:
        """`{from, to, by}` written out as a list."""
        if not isinstance(node.value, dict) or set(node.value) != {"from", "to", "by"}:
            return node
        items, wrong = list_of_steps(*(node.value[key].value for key in ("from", "to", "by")))
        if wrong:
            self._wrong(wrong, path, node.spot, from_)
            return replace(node, value=())
        return replace(node, value=tuple(Node(item, node.place, None, node.setting) for item in items))


def list_of_steps(first: Any, last: Any, step: Any) -> tuple[list[Any], str]:
    """`from`, `from + by`, … up to and including `to`, in decimal arithmetic; and what is wrong, if anything."""
    parsed = [_WITH_UNIT.match(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None for value in (first, last, step)]
    if any(match is None for match in parsed):
        return [], "from, to and by should be numbers, or quantities with one unit"
    numbers = [Decimal(match[1]) for match in parsed if match]
    units = {match[2] for match in parsed if match}
    if len(units) > 1:
        return [], "from, to and by should have the same unit"
    unit = units.pop()
    if numbers[2] <= 0 or numbers[1] < numbers[0]:
        return [], "by should be positive, and to at least from"
    count = int((numbers[1] - numbers[0]) / numbers[2]) + 1
    if count > 100_000:
        return [], f"from, to and by make {count} values; at most 100000"
    texts = [str(numbers[0] + index * numbers[2]) for index in range(count)]
    return [f"{text} {unit}" if unit else scalar(text) for text in texts], ""
