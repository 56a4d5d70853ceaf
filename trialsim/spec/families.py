"""Which hypotheses a protocol tests, and which of them share one alpha.

An analysis of several test arms has one hypothesis for each, named `analysis:arm`; one of two arms, or a test over all arms at once (a
trend, a contrast), has one, named as the analysis. Families are the arms of an analysis with `multiplicity`, and the entries of the
section `multiplicity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trialsim.analysis import Analysis, GraphProcedure, Multiplicity
from trialsim.conduct.families import PlannedFamily
from trialsim.conduct.multiplicity import graph_of, weighting_of
from trialsim.design import Boundary
from trialsim.design.multiplicity import Weighting
from trialsim.spec.looks import lengthened
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.analyses import AnyAnalysis


def arms_of(protocol: Protocol, analysis: Analysis) -> tuple[tuple[str, ...], str]:
    """The test arms and the reference arm of an analysis."""
    treatment = analysis.treatment if analysis.estimand is None else protocol.estimands[analysis.estimand].treatment
    assert treatment is not None
    return treatment.tests, treatment.reference


def tests_all_arms_at_once(analysis: Analysis) -> bool:
    """Whether it asks one question of all its arms: a trend, or a contrast."""
    return any(getattr(analysis, option, None) is not None for option in ("trend", "contrast"))


def hypotheses(protocol: Protocol, name: str) -> dict[str, str | None]:
    """The hypotheses of an analysis, each with its test arm; None where there is one only."""
    analysis = protocol.analyses[name]
    tests, _ = arms_of(protocol, analysis)
    if len(tests) == 1 or tests_all_arms_at_once(analysis):
        return {name: None}
    return {f"{name}:{arm}": arm for arm in tests}


def as_made(protocol: Protocol, name: str) -> AnyAnalysis:
    """An analysis as it is made: with the variance of all its arms pooled where they are a family by Dunnett's test, wherever that stands."""
    analysis, own = protocol.analyses[name], hypotheses(protocol, name)
    by_dunnett = any(family.procedure == "dunnett" and member in own for family in families(protocol).values() for member in family.members)
    return analysis.model_copy(update={"multiplicity": "dunnett"}) if len(own) > 1 and by_dunnett else analysis


@dataclass(frozen=True, slots=True)
class Declared:
    """A family as the protocol has it: hypotheses, their names in the procedure, and where it stands. `alpha` is total over `sides`."""

    members: tuple[str, ...]
    names: tuple[str, ...]
    alpha: float
    sides: int
    procedure: Multiplicity
    path: Path

    @property
    def weighting(self) -> Weighting | None:
        """The shares of alpha that hypotheses hold and hand on, where the procedure has such: whatever test a graph then makes."""
        return graph_of(self.procedure, self.names) if isinstance(self.procedure, GraphProcedure) else weighting_of(self.procedure, self.names)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The members that are arms of one analysis, by place."""
        found: dict[str, list[int]] = {}
        for index, member in enumerate(self.members):
            found.setdefault(analysis_of(member), []).append(index)
        return tuple(map(tuple, found.values()))

    def first_share(self, member: str) -> float:
        """The share of alpha that a member holds before anything is rejected; where its turn only comes later, the most it can inherit."""
        weighting, index = self.weighting, self.members.index(member)
        if weighting is None:
            return 1.0 if self.procedure == "none" else 1.0 / len(self.members)
        others = ((1 << len(self.members)) - 1) & ~(1 << index)
        # A hypothesis that can never hold alpha is shown the whole of it, which it cannot use.
        return float(weighting.shares(0)[index]) or float(weighting.shares(others)[index]) or 1.0


def families(protocol: Protocol) -> dict[str, Declared]:
    """Every family of the protocol, by its name (that of the analysis, for its arms)."""
    found = {}
    for name, analysis in protocol.analyses.items():
        own = hypotheses(protocol, name)
        if len(own) > 1 and analysis.multiplicity != "none":
            arms = tuple(str(arm) for arm in own.values())
            found[name] = Declared(tuple(own), arms, analysis.alpha, analysis.sides, analysis.multiplicity, ("analyses", name))
    for name, family in protocol.multiplicity.items():
        members: dict[str, str] = {}
        for member in family.members:
            analysis_name = member.partition(":")[0]
            own = hypotheses(protocol, analysis_name)
            members |= {member: member} if member in own else {key: key if len(own) > 1 else member for key in own}
        sides = protocol.analyses[family.members[0].partition(":")[0]].sides
        found[name] = Declared(tuple(members), tuple(members.values()), family.alpha, sides, family.procedure, ("multiplicity", name))
    return found


def analysis_of(member: str) -> str:
    """The analysis of a hypothesis."""
    return member.partition(":")[0]


def planned_families(protocol: Protocol) -> dict[str, PlannedFamily]:
    """Every family as conduct needs it; those whose procedure is `none` decide one by one."""
    ratio = (protocol.randomization.ratio if protocol.randomization else None) or dict.fromkeys(protocol.arms, 1)
    found = {}
    for name, family in families(protocol).items():
        if family.procedure == "none":
            continue
        ratios = []
        for member in family.members:
            tests, reference = arms_of(protocol, protocol.analyses[analysis_of(member)])
            ratios.append(float(ratio[member.partition(":")[2] or tests[0]]) / float(ratio[reference]))
        found[name] = PlannedFamily(
            members=family.members,
            names=family.names,
            alpha=family.alpha,
            sides=family.sides,
            procedure=family.procedure,
            groups=family.groups,
            ratios=tuple(ratios),
        )
    return found


def unsupported(protocol: Protocol) -> Iterator[Found]:
    """What the families of a protocol ask for that the engine cannot do, or that would not control their error rate."""
    protocol = lengthened(protocol)
    seen: dict[str, str] = {}
    for name, family in families(protocol).items():
        path = family.path
        for member in family.members:
            if member in seen:
                yield Found(path, f"a hypothesis in two families ({member} in {seen[member]} and {name})")
            seen.setdefault(member, name)
        if family.procedure != "none":
            yield from (Found(path, phrase) for phrase in _unsound(protocol, family))


def _unsound(protocol: Protocol, family: Declared) -> Iterator[str]:
    analyses: Mapping[str, Analysis] = {analysis_of(member): protocol.analyses[analysis_of(member)] for member in family.members}
    word = _word(family.procedure)
    looks = {name: tuple(getattr(analysis, "looks", None) or ()) for name, analysis in analyses.items()}
    several = len(protocol.looks) > 1
    weighting = weighting_of(family.procedure, family.names)
    if several and any(looks.values()) and not all(looks.values()):
        yield "a family of which some analyses have looks and others are made where the trial ends (give each its looks)"
    elif several and weighting is None and any(looks.values()):
        if len(set(looks.values())) > 1:
            yield f"multiplicity by {word} of analyses made at different looks"
        elif len(next(iter(looks.values()))) > 1 and any(getattr(analysis, "efficacy", None) is not None for analysis in analyses.values()):
            yield f"multiplicity by {word} with efficacy at interim looks"
    if word in ("dunnett", "a parametric graph"):
        if word == "dunnett" and len(analyses) > 1:
            yield "multiplicity by dunnett across analyses"
        if any(analysis.type == "equivalence" for analysis in analyses.values()):
            yield f"multiplicity by {word} of equivalence"
        if word != "dunnett" and family.sides == 2:
            yield "multiplicity by a parametric graph with sides: 2"
    for name, analysis in analyses.items():
        efficacy, futility = getattr(analysis, "efficacy", None), getattr(analysis, "futility", None)
        if isinstance(efficacy, Boundary) and not efficacy.free:
            yield f"fixed critical values in a family ({name})"
        if futility is not None and futility.binding and family.procedure != "bonferroni":
            yield f"binding futility in a family whose alpha moves ({name})"


def _word(procedure: Multiplicity) -> str:
    if isinstance(procedure, GraphProcedure):
        return {"bonferroni": "a graph", "simes": "a graph with Simes' test", "parametric": "a parametric graph"}[procedure.test]
    return procedure
