"""Families: their names, that their members go together, and that a graph is over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.analysis import GraphProcedure, Multiplicity
from trialsim.spec.families import hypotheses
from trialsim.spec.names import Names
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.spec.rules.analyses import treatment_of


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    for name, analysis in protocol.analyses.items():
        treatment = treatment_of(protocol, analysis)
        if treatment is not None:
            yield from _graph(analysis.multiplicity, treatment.tests, ("analyses", name, "multiplicity"))
    for name, family in protocol.multiplicity.items():
        path: Path = ("multiplicity", name)
        if name in names.analyses:
            yield Found(path, f'"{name}" is also an analysis; their results could not be told apart', on_key=True)
        yield from _members(protocol, family.members, (*path, "members"), by_graph=isinstance(family.procedure, GraphProcedure))
        yield from _graph(family.procedure, family.members, (*path, "procedure"))


def _members(protocol: Protocol, members: Sequence[str], path: Path, *, by_graph: bool) -> Iterator[Found]:
    sides: dict[str, int] = {}
    taken: set[str] = set()
    for index, member in enumerate(members):
        analysis = protocol.analyses.get(member.partition(":")[0])
        treatment = None if analysis is None or analysis.estimand not in (None, *protocol.estimands) else treatment_of(protocol, analysis)
        if analysis is None or treatment is None or (":" in member and member.partition(":")[2] not in treatment.tests):
            continue  # said elsewhere
        own = hypotheses(protocol, member.partition(":")[0])
        keys = {member} & set(own) or set(own)
        if keys & taken:
            yield Found((*path, index), f'"{member}" is named before')
        taken |= keys
        if by_graph and len(keys) > 1:
            yield Found((*path, index), f'"{member}" compares several arms; a graph names each: {", ".join(own)}')
        first = next(iter(sides), None)
        if first is not None and analysis.sides != sides[first]:
            yield Found(
                (*path, index), f'"{member}" has sides: {analysis.sides} and "{first}" sides: {sides[first]}; a family shares one alpha, over the same sides'
            )
        sides.setdefault(member, analysis.sides)


def _graph(procedure: Multiplicity, names: Sequence[str], path: Path) -> Iterator[Found]:
    if isinstance(procedure, GraphProcedure) and set(procedure.graph.weights) <= set(names):
        missing = [name for name in names if name not in procedure.graph.weights]
        if missing:
            yield Found((*path, "graph", "weights"), f"no weight for {', '.join(missing)}; one that only inherits has weight 0", on_key=True)
