"""Designs crossed with scenarios: the cells of a protocol, their names, and which of them `--only` asks for.

A grid is every combination of its values, the last key varying fastest. Its cells are named `id[hr=0.65,delay=0 months]`,
with values as written; the cells of a bare grid of designs are named `n=500`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trialsim.errors import UsageError, did_you_mean
from trialsim.spec.nodes import Found, Node, Setting, plain
from trialsim.spec.parameters import Assigned, Environment

DEFAULT_DESIGN, DEFAULT_SCENARIO = "default", "base"


@dataclass(frozen=True, slots=True)
class Variant:
    """One design or one scenario: its name, the id it was written under, and the parameters it sets."""

    name: str
    id: str
    role: str = ""
    sets: Environment = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A design under a scenario, with the value of every parameter."""

    design: Variant
    scenario: Variant
    environment: Environment


def written(node: Node) -> str:
    """A parameter's value as a cell's name shows it."""
    value = plain(node)
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _assigned(name: str, node: Node, by: str) -> Assigned:
    return Assigned(node, Setting(name, by, node.place))


def _combinations(grid: Node, by: str) -> Iterator[tuple[str, dict[str, Assigned]]]:
    assert isinstance(grid.value, dict)
    choices = [[(name, value) for value in node.value] for name, node in grid.value.items() if isinstance(node.value, tuple)]
    for combination in itertools.product(*choices):
        label = ",".join(f"{name}={written(value)}" for name, value in combination)
        yield label, {name: _assigned(name, value, by) for name, value in combination}


def _variants(id: str, node: Node, *, kind: str, role: str) -> Iterator[Variant]:
    by = f"{kind} {id}"
    grid, fixed = node.get("grid"), node.get("set")
    if grid is not None and grid.value is not None:
        for label, sets in _combinations(grid, by):
            yield Variant(f"{id}[{label}]", id, role, sets)
    else:
        values = fixed.value if fixed is not None and isinstance(fixed.value, dict) else {}
        yield Variant(id, id, role, {name: _assigned(name, value, by) for name, value in values.items()})


def is_bare_grid(section: Node) -> bool:
    """Whether `designs` is `{grid: {...}}` and nothing else."""
    return isinstance(section.value, dict) and set(section.value) == {"grid"}


def designs(section: Node | None) -> tuple[Variant, ...]:
    """The designs of a valid section `designs`."""
    if section is None or not isinstance(section.value, dict) or not section.value:
        return (Variant(DEFAULT_DESIGN, DEFAULT_DESIGN),)
    if is_bare_grid(section):
        return tuple(Variant(label, label, "", sets) for label, sets in _combinations(section.value["grid"], "designs"))
    return tuple(variant for id, node in section.value.items() for variant in _variants(id, node, kind="design", role=""))


def scenarios(section: Node | None) -> tuple[Variant, ...]:
    """The scenarios of a valid section `scenarios`."""
    if section is None or not isinstance(section.value, dict) or not section.value:
        return (Variant(DEFAULT_SCENARIO, DEFAULT_SCENARIO, "alternative"),)
    found: list[Variant] = []
    for id, node in section.value.items():
        role = node.get("role")
        found += _variants(id, node, kind="scenario", role="alternative" if role is None else str(role.value))
    return tuple(found)


def drawn(section: Node | None) -> tuple[str, ...]:
    """The parameters that scenarios draw from a distribution."""
    nodes = section.value.values() if section is not None and isinstance(section.value, dict) else ()
    draws = [draw for node in nodes if (draw := node.get("draw")) is not None and isinstance(draw.value, dict)]
    return tuple(dict.fromkeys(name for draw in draws if isinstance(draw.value, dict) for name in draw.value))


def clashes(section: Node | None, chosen: Sequence[Variant], natures: Sequence[Variant]) -> list[Found]:
    """Parameters that both a design and a scenario set, and cells with the same name."""
    by_design = {name: assigned.setting for variant in chosen for name, assigned in variant.sets.items()}
    found = []
    for variant in natures:
        for name in variant.sets:
            if name in by_design:
                key = (
                    "grid"
                    if section is not None and (node := section.get(variant.id)) is not None and isinstance(getattr(node.get("grid"), "value", None), dict)
                    else "set"
                )
                place = by_design[name].place
                line = f" (line {place.line})" if place is not None else ""
                found.append(
                    Found(
                        ("scenarios", variant.id, key, name),
                        f"{name} is also set by {by_design[name].by}{line}; a parameter belongs to designs or to scenarios",
                        True,
                    )
                )
    for kind, variants in (("designs", chosen), ("scenarios", natures)):
        names = [variant.name for variant in variants]
        found += [Found((kind,), f'two cells are called "{name}"', True) for name in dict.fromkeys(names) if names.count(name) > 1]
    return list(dict.fromkeys(found))


def pairs(parameters: Environment, chosen: Sequence[Variant], natures: Sequence[Variant]) -> tuple[Pair, ...]:
    """Every design under every scenario. Precedence: parameters < design < scenario."""
    return tuple(Pair(design, scenario, {**parameters, **design.sets, **scenario.sets}) for design in chosen for scenario in natures)


def selected(variants: Sequence[Variant], kind: str, wanted: str) -> set[str]:
    """The names that `--only kind=wanted` asks for: one cell by its name, or all of an id. Raises UsageError."""
    names = {variant.name for variant in variants if wanted in (variant.name, variant.id)}
    if not names:
        options = {word for variant in variants for word in (variant.name, variant.id)}
        raise UsageError(f'--only {kind}={wanted}: no {kind} "{wanted}"{did_you_mean(wanted, options)}')
    return names


def check_only(only: Mapping[str, str]) -> None:
    for key in only:
        if key not in ("design", "scenario", "role"):
            raise UsageError(f"--only {key}=…: cells are chosen by design, scenario or role{did_you_mean(key, ('design', 'scenario', 'role'))}")


def check_role(role: str, variants: Sequence[Variant]) -> None:
    """Raises UsageError when no scenario has the role."""
    roles = {variant.role for variant in variants}
    if role not in roles:
        raise UsageError(f"--only role={role}: no scenario has that role{did_you_mean(role, roles)}")
