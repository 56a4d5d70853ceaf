"""Protocols broken at random: always one line with a place, never a crash; what is still valid still resolves to itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialsim.errors import ProtocolError
from trialsim.spec import Study, load
from trialsim.spec.loading import read_file
from trialsim.spec.nodes import plain
from trialsim.spec.resolution import to_yaml

SPECS = Path(__file__).parents[1] / "specs"
DOCUMENTS = [plain(read_file(path)) for path in sorted((SPECS / "valid").glob("*.yaml")) if path.stem != "extending"]
ODD = (
    None, True, -1, 0, 3.5, 1e308, float("inf"), float("nan"), "", "x", "$n", "$zzz", "3 months", "30 %", "0.1 / month", "10 mg", [], {}, [1, 2], ["a"], {"a": 1}, [None],
    {"from": 1, "to": 3, "by": 1}, "null", [[]], {"dist": "exponential"}, {"method": "cox"}, "fitted", "all_randomized",
)  # fmt: skip
KEYS = ("zz", "rate", "median", "at", "final", "set", "grid", "dist", "hr")


def paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*path, key))


def at(value: Any, path: tuple) -> Any:
    for step in path:
        value = value[step]
    return value


def mutated(rng: random.Random) -> Any:
    document = copy.deepcopy(rng.choice(DOCUMENTS))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(paths(document)))
        holder, last, kind = at(document, path[:-1]), path[-1], rng.random()
        if kind < 0.55:
            holder[last] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.7:
            del holder[last]
        elif kind < 0.8 and isinstance(holder, dict):
            holder[rng.choice(KEYS)] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.9 and isinstance(holder, dict):
            holder[f"{last}x"] = holder.pop(last)
        else:
            holder[last] = copy.deepcopy(at(document, rng.choice(list(paths(document)))))
    return document


@pytest.mark.parametrize("first", range(0, 150, 25))
def test_a_broken_protocol_is_never_a_crash(tmp_path: Path, first: int):
    for seed in range(first, first + 25):
        file = tmp_path / f"{seed}.yaml"
        file.write_text(to_yaml(mutated(random.Random(seed))))
        try:
            study = load(file)
        except ProtocolError as error:
            problems = error.problems
        else:
            problems = ()
            unchanged(study, tmp_path / f"{seed}-resolved.yaml")
        for problem in problems:
            assert "\n" not in str(problem)
            assert (problem.file, problem.line is None, problem.column is None) == (str(file), False, False), problem


def unchanged(study: Study, again: Path) -> None:
    again.write_text(to_yaml(study.resolved()))
    assert load(again).sha256 == study.sha256
    assert [cell.sha256 for cell in load(again).cells()] == [cell.sha256 for cell in study.cells()]
    assert all("not supported yet: " in note.message for note in study.notes())


@pytest.mark.parametrize("section", ["designs", "scenarios"])
def test_null_forms_of_designs_and_scenarios_are_absent(tmp_path: Path, section: str):
    file = tmp_path / "p.yaml"
    file.write_text((SPECS / "valid" / "survival.yaml").read_text() + f"{section}: {{a: {{grid: null, set: null}}}}\n")
    assert len(load(file).cells()) == 1
