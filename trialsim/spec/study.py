"""A study: one protocol file, checked, and the cells it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trialsim.errors import NotSupportedError, Problem, ProtocolError, UsageError
from trialsim.parts import walk
from trialsim.spec import cells as naming
from trialsim.spec import families
from trialsim.spec.checking import Checked, check_cell
from trialsim.spec.document import Document, open_document
from trialsim.spec.looks import lengthened
from trialsim.spec.nodes import Found, in_order, place_problem, place_problems
from trialsim.spec.protocol import Protocol
from trialsim.spec.reach import Reach
from trialsim.spec.resolution import dump, resolve, sha256
from trialsim.spec.runnable import missing_to_run

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Cell:
    """One design under one scenario: a concrete protocol, its looks in the long form."""

    design: str
    scenario: str
    role: str
    protocol: Protocol
    replicates: int

    @cached_property
    def sha256(self) -> str:
        """The hash of this cell's concrete protocol: what its replicates depend on."""
        return sha256(dump(self.protocol))


@dataclass(frozen=True)
class Study:
    """A valid protocol. Every cell has been validated."""

    path: str
    document: Document
    checked: tuple[Checked, ...]

    @property
    def directory(self) -> Path:
        """The protocol's folder, to which its paths are relative."""
        return Path(self.path).resolve().parent

    @property
    def seed(self) -> int | None:
        return self._protocols[0].simulation.seed

    @property
    def id(self) -> str:
        """The study's id; the file's name where it gives none."""
        study = self._protocols[0].study
        return study.id if study is not None else Path(self.path).stem

    @property
    def _protocols(self) -> tuple[Protocol, ...]:
        return tuple(item.protocol for item in self.checked if item.protocol is not None)

    @cached_property
    def _resolved(self) -> dict[str, Any]:
        return resolve(self.document, self._protocols)

    def resolved(self) -> dict[str, Any]:
        """The fully explicit protocol, itself a valid one with the same hash."""
        return self._resolved

    @cached_property
    def sha256(self) -> str:
        """The hash that identifies the run: of the resolved form, without replicates, target_mcse and keep."""
        return sha256(self._resolved)

    @cached_property
    def _cells(self) -> tuple[Cell, ...]:
        return tuple(
            Cell(pair.design.name, pair.scenario.name, pair.scenario.role, lengthened(protocol), protocol.simulation.replicates_of(pair.scenario.role))
            for pair, protocol in zip(self.document.pairs, self._protocols, strict=True)
        )

    def cells(self, only: Mapping[str, str] = NOTHING) -> tuple[Cell, ...]:
        """All cells, or those that `only` names by design, scenario (a cell's name, or the id before `[`) or role. Raises UsageError."""
        naming.check_only(only)
        chosen = self._cells
        for kind, variants in (("design", self.document.designs), ("scenario", self.document.scenarios)):
            if kind in only:
                names = naming.selected(variants, kind, only[kind])
                chosen = tuple(cell for cell in chosen if getattr(cell, kind) in names)
        if "role" in only:
            naming.check_role(only["role"], self.document.scenarios)
            chosen = tuple(cell for cell in chosen if cell.role == only["role"])
        return chosen

    def notes(self) -> tuple[Problem, ...]:
        """What the language says here and the engine cannot run yet, in the order of the file."""
        return tuple(Problem(f"not supported yet: {item.message}", item.path, item.file, item.line, item.column) for item in self._unsupported)

    @cached_property
    def _unsupported(self) -> tuple[Problem, ...]:
        found: list[Problem] = []
        for item in self.checked:
            if item.protocol is not None:
                found += [place_problem(item.nodes, note) for note in _unsupported_parts(item.protocol)]
        for id, scenario in self.document.typed_scenarios.items():
            found += place_problems(self.document.root, [Found(("scenarios", id), phrase) for phrase in scenario.unsupported()])
        return in_order(found)

    def require(self, *sections: str) -> None:
        """Raises ProtocolError naming every one of `sections` that the protocol does not have."""
        body = self.document.body.value
        missing = [section for section in sections if not isinstance(body, dict) or section not in body]
        if missing:
            raise ProtocolError(place_problems(self.document.body, [Found((section,), "missing; this command needs it") for section in missing]))

    def require_runnable(self) -> None:
        """Raises ProtocolError for what a run needs and the protocol does not say, then NotSupportedError for what cannot be run yet."""
        problems: list[Problem] = []
        for item, cell in zip(self.checked, self._cells, strict=True):
            problems += place_problems(item.nodes, list(missing_to_run(cell.protocol)))
        if problems:
            raise ProtocolError(in_order(problems))
        if self._unsupported:
            raise NotSupportedError([f"{note.message} ({note.path}, {note.file}:{note.line}:{note.column})" for note in self._unsupported])


def _unsupported_parts(protocol: Protocol) -> Iterator[Found]:
    for path, part in walk(protocol):
        for phrase in part.unsupported():
            yield Found(path, phrase)
    yield from families.unsupported(protocol)


def _out_of_reach(document: Document, checked: Sequence[Checked]) -> list[Problem]:
    """For each target that cannot be reached, the cell that falls shortest of it."""
    reach = Reach()
    worst: dict[tuple[str | int, ...], tuple[float, Problem]] = {}
    for pair, item in zip(document.pairs, checked, strict=True):
        if item.protocol is None or pair.scenario.role == "null_hypothesis":
            continue
        for found, expected in reach.beyond(item.protocol):
            if found.path not in worst or expected < worst[found.path][0]:
                named = replace(found, message=f"{found.message} (design {pair.design.name}, scenario {pair.scenario.name})")
                worst[found.path] = (expected, place_problem(item.nodes, named))
    return [problem for _, problem in worst.values()]


def load(path: str | os.PathLike[str], sets: Mapping[str, Any] = NOTHING, seed: int | None = None) -> Study:
    """Read, resolve and check a protocol.

    `sets` overrides parameters (text is read as YAML), `seed` the seed. Raises ProtocolError with every problem found, in
    the order of the file, and UsageError for a `sets` that names no parameter.
    """
    if seed is not None and seed < 0:
        raise UsageError(f"--seed {seed}: a seed is a whole number from 0")
    document, directory = open_document(path, sets, seed), Path(path).resolve().parent
    checked = tuple(check_cell(document.body, pair, document.settable, directory) for pair in document.pairs)
    problems = in_order([*document.problems, *(problem for item in checked for problem in item.problems)], os.fspath(path))
    if not problems:
        problems = in_order(_out_of_reach(document, checked), os.fspath(path))
    if problems:
        raise ProtocolError(problems)
    return Study(os.fspath(path), document, checked)
