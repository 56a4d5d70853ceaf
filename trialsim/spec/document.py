"""A protocol file after reading: sections as nodes, parameters, and the cells that designs and scenarios make of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, ValidationError

from trialsim.errors import Problem, did_you_mean, nearest
from trialsim.parts import Part
from trialsim.spec import cells
from trialsim.spec.cells import Pair, Variant
from trialsim.spec.extending import read_extended
from trialsim.spec.nodes import Found, Node, Place, place_problems, plain, scalars
from trialsim.spec.parameters import KEEP_ALL, Assigned, Environment, Substitution, declared, is_name, mentioned_name, with_sets
from trialsim.spec.protocol import LANGUAGE, Protocol
from trialsim.spec.sections.designs import BareGrid, Design, Scenario
from trialsim.spec.wording import explain

ABOUT = ("spec", "extends", "parameters", "designs", "scenarios")
"""The keys of a file that are about the protocol and not sections of it."""
KEYS = ("spec", "extends", "study", "parameters", *(name for name in Protocol.model_fields if name != "study"), "designs", "scenarios")


class _Designs(Part):
    designs: dict[str, Design] = Field(default_factory=dict)


class _BareDesigns(Part):
    designs: BareGrid


class _Scenarios(Part):
    scenarios: dict[str, Scenario] = Field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """What a file (with the files it extends, `--set` and `--seed`) says."""

    root: Node
    body: Node
    """The sections of the protocol, `$name` and all."""
    parameters: Environment
    designs: tuple[Variant, ...]
    scenarios: tuple[Variant, ...]
    typed_scenarios: Mapping[str, Scenario]
    drawn: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def settable(self) -> frozenset[str]:
        """The parameters that a design or a scenario sets; `resolve` keeps their `$name`."""
        variants = (*self.designs, *self.scenarios)
        return frozenset(name for variant in variants for name in variant.sets) | frozenset(self.drawn)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return cells.pairs(self.parameters, self.designs, self.scenarios)


def open_document(path: str | os.PathLike[str], sets: Mapping[str, Any], seed: int | None) -> Document:
    """Read a protocol. Raises ProtocolError where it cannot be read and UsageError for a `--set` it has no use for."""
    root = _listed(read_extended(path))
    assert isinstance(root.value, dict)
    found = _top_level(root)
    parameters, wrong_names = declared(root.get("parameters"))
    typed, wrong_designs = _typed_variants(root)
    found += [*wrong_names, *wrong_designs]
    bad = {item.path[0] for item in wrong_designs}
    chosen = cells.designs(None if "designs" in bad else root.get("designs"))
    natures = cells.scenarios(None if "scenarios" in bad else root.get("scenarios"))
    drawn = cells.drawn(None if "scenarios" in bad else root.get("scenarios"))
    found += cells.clashes(root.get("scenarios"), chosen, natures)
    body = replace(root, value={key: node for key, node in root.value.items() if key in Protocol.model_fields and node.value is not None})
    if seed is not None:
        body = _with_seed(body, seed)
    mentioned = _mentioned(body, parameters, (*chosen, *natures))
    parameters = with_sets(parameters, sets, {*parameters, *mentioned})
    found += _unused(root, parameters, mentioned, (*chosen, *natures), drawn, bad)
    return Document(root, body, parameters, chosen, natures, typed, drawn, tuple(place_problems(root, found)))


def _listed(root: Node) -> Node:
    """`{from, to, by}` written out in designs and scenarios, whose values name cells."""
    assert isinstance(root.value, dict)
    expand = Substitution({}, keep=KEEP_ALL)
    return replace(root, value={key: expand.apply(node) if key in ("designs", "scenarios") else node for key, node in root.value.items()})


def _top_level(root: Node) -> list[Found]:
    assert isinstance(root.value, dict)
    found = [Found((key,), "unknown key" + did_you_mean(key, KEYS), on_key=True) for key in root.value if key not in KEYS]
    language = root.get("spec")
    if language is None:
        found.append(Found(("spec",), f'missing; the file begins with "spec: {LANGUAGE}"'))
    elif language.value != LANGUAGE:
        found.append(Found(("spec",), f'"{plain(language)}" is not a language this version reads; it reads {LANGUAGE}'))
    return found


def _typed_variants(root: Node) -> tuple[dict[str, Scenario], list[Found]]:
    """The scenarios, typed; and what is wrong with the form of designs and scenarios."""
    found: list[Found] = []
    scenarios: dict[str, Scenario] = {}
    section = root.get("designs")
    if section is not None and section.value is not None:
        model: type[Part] = _BareDesigns if cells.is_bare_grid(section) else _Designs
        found += _explained(model, {"designs": plain(section)})
        if isinstance(section.value, dict) and "grid" in section.value and len(section.value) > 1:
            found = [Found(("designs", "grid"), "a bare grid stands alone; give the grid an id", on_key=True)]
    section = root.get("scenarios")
    if section is not None and section.value is not None:
        wrong = _explained(_Scenarios, {"scenarios": plain(section)})
        found += wrong
        if not wrong:
            scenarios = _Scenarios.model_validate({"scenarios": plain(section)}).scenarios
    return scenarios, found


def _explained(model: type[Part], data: Any) -> list[Found]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return explain(error, model, data)
    return []


def _with_seed(body: Node, seed: int) -> Node:
    assert isinstance(body.value, dict)
    place = Place("--seed", 1, 1)
    simulation = body.value.get("simulation") or Node({}, body.place, body.place)
    if not isinstance(simulation.value, dict):
        return body
    changed = replace(simulation, value={**simulation.value, "seed": Node(seed, place, place)})
    return replace(body, value={**body.value, "simulation": changed})


def _uses(node: Node) -> Iterable[str]:
    return [name for _, item in scalars(node) if (name := mentioned_name(item)) is not None]


def _mentioned(body: Node, parameters: Environment, variants: Iterable[Variant]) -> set[str]:
    """Every parameter the protocol uses, directly or inside the value of one it uses."""
    values: dict[str, list[Assigned]] = {name: [assigned] for name, assigned in parameters.items()}
    for variant in variants:
        for name, assigned in variant.sets.items():
            values.setdefault(name, []).append(assigned)
    seen: set[str] = set()
    waiting = list(_uses(body))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [inner for assigned in values.get(name, ()) for inner in _uses(assigned.node)]
    return seen


def _unused(root: Node, parameters: Environment, mentioned: set[str], variants: Iterable[Variant], drawn: Iterable[str], bad: set[str | int]) -> list[Found]:
    section = root.get("parameters")
    names = list(section.value) if section is not None and isinstance(section.value, dict) else []
    # A parameter whose name was misspelt where it is used is not also reported as unused.
    meant = {nearest(name, parameters) for name in mentioned if name not in parameters}
    unused = [name for name in names if name not in mentioned and name not in meant and is_name(name)]
    found = [Found(("parameters", name), f"unused parameter; nothing says ${name}", on_key=True) for name in unused]
    known = {*parameters, *mentioned}
    for kind in ("designs", "scenarios"):
        node = root.get(kind)
        if node is None or kind in bad:
            continue
        for path, name in _set_paths(kind, node):
            if name not in known:
                options = did_you_mean(name, known) if known else "; there are no parameters"
                found.append(Found(path, f"unknown parameter{options}", on_key=True))
    return found


def _set_paths(kind: str, section: Node) -> Iterable[tuple[tuple[str, ...], str]]:
    """Where designs or scenarios set which parameter."""
    if kind == "designs" and cells.is_bare_grid(section):
        grid = section.get("grid")
        yield from (((kind, "grid", name), name) for name in (grid.value if grid is not None and isinstance(grid.value, dict) else ()))
        return
    for id, node in (section.value if isinstance(section.value, dict) else {}).items():
        for key in ("set", "grid", "draw"):
            inner = node.get(key)
            if inner is not None and isinstance(inner.value, dict):
                yield from (((kind, id, key, name), name) for name in inner.value)
