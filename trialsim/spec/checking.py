"""From the nodes of one cell to its typed protocol, or to everything that is wrong with it.

An entry that is invalid by itself is set aside and the rules are applied to the rest, so that one reading of the file
reports both.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from trialsim.cohort.calibration.published_curve import DIRECTORY
from trialsim.errors import Problem
from trialsim.spec import rules
from trialsim.spec.cells import Pair
from trialsim.spec.names import Names
from trialsim.spec.nodes import Found, Node, Path, place_problems, plain
from trialsim.spec.parameters import Substitution
from trialsim.spec.protocol import Protocol
from trialsim.spec.wording import coercions, explain

_BY_ENTRY = ("interventions", "arms", "visits", "endpoints", "estimands", "analyses", "multiplicity", "looks")
_TRUTH_DEPTH = {"outcomes": 3, "effects": 4, "intercurrent_events": 3, "missing_data": 3}


@dataclass(frozen=True)
class Checked:
    """A cell's sections with every `$name` replaced, and the typed protocol where nothing is wrong."""

    nodes: Node
    protocol: Protocol | None
    problems: tuple[Problem, ...]


def check_cell(body: Node, pair: Pair, settable: frozenset[str], directory: FilePath | None = None) -> Checked:
    """Substitute, validate, apply the rules."""
    substitution = Substitution(pair.environment, known=settable, cell=f"design {pair.design.name}, scenario {pair.scenario.name}")
    nodes = substitution.apply(body)
    data = plain(nodes)
    protocol, found = validated(data, directory)
    invalid = {item.path for item in found}
    found += [item for item in rules.check(protocol, Names.of(data, protocol, directory)) if item.path not in invalid]
    failed = substitution.failed
    found = [item for item in found if not any(_related(item.path, path) for path in failed)]
    problems = (*substitution.problems, *place_problems(nodes, found))
    return Checked(nodes, None if problems else protocol, problems)


def _related(path: Path, failed: Path) -> bool:
    shared = min(len(path), len(failed))
    return path[:shared] == failed[:shared]


def validated(data: dict[str, Any], directory: FilePath | None = None) -> tuple[Protocol, list[Found]]:
    """The protocol in `data` as far as it is valid, and what is not. `directory`: where the files lie that it names."""
    found: list[Found] = []
    remaining = data
    for _ in range(len(Protocol.model_fields)):
        try:
            protocol = Protocol.model_validate(remaining, context={DIRECTORY: directory})
        except ValidationError as error:
            wrong = explain(error, Protocol, remaining)
            found += wrong
            pruned = _without(remaining, {_entry(item.path) for item in wrong})
            if pruned == remaining:
                break
            remaining = pruned
        else:
            return protocol, [*found, *coercions(remaining, protocol)]
    return Protocol(), found


def _entry(path: Path) -> Path:
    """The entry to set aside for something wrong at `path`."""
    if not path:
        return ()
    if path[0] == "truth" and len(path) > 1:
        return path[: _TRUTH_DEPTH.get(str(path[1]), 2)]
    return path[:2] if path[0] in _BY_ENTRY else path[:1]


def _without(data: dict[str, Any], entries: set[Path]) -> dict[str, Any]:
    if () in entries:
        return {}
    result = copy.deepcopy(data)
    for entry in entries:
        holder: Any = result
        for step in entry[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.pop(entry[-1], None)
        else:
            result.pop(str(entry[0]), None)
    return result
