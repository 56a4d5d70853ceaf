"""Analyses name estimands, endpoints, arms, covariates, visits and looks; the method fits the endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.analysis import Analysis, GraphProcedure, Treatment
from trialsim.design import FutilityRule, HazardRatioAbove
from trialsim.records import RecurrentData
from trialsim.spec.looks import endpoint_name
from trialsim.spec.names import TWIN_PROGNOSIS, Names, is_not
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.spec.rules.estimands import check_treatment
from trialsim.twins.events import Recurrent
from trialsim.twins.values import NegativeBinomial


def treatment_of(protocol: Protocol, analysis: Analysis) -> Treatment | None:
    """The comparison an analysis makes, by itself or by its estimand."""
    estimand = protocol.estimands.get(analysis.estimand) if analysis.estimand is not None else None
    return analysis.treatment if estimand is None else estimand.treatment


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    for name, analysis in protocol.analyses.items():
        path = ("analyses", name)
        if analysis.estimand is not None and analysis.estimand not in names.estimands:
            yield Found((*path, "estimand"), is_not(analysis.estimand, "an estimand", names.estimands, "estimands"))
        if analysis.endpoint is not None and analysis.endpoint not in names.endpoints:
            yield Found((*path, "endpoint"), is_not(analysis.endpoint, "an endpoint", names.endpoints, "endpoints"))
        if analysis.treatment is not None:
            yield from check_treatment(analysis.treatment, (*path, "treatment"), names)
        if analysis.alpha / analysis.sides > 0.5:
            yield Found((*path, "alpha"), f"{analysis.alpha:g} is more than 0.5 per side")
        yield from _covariates(analysis, path, names)
        yield from _method(protocol, analysis, path)
        yield from _recurs(protocol, analysis, path)
        yield from _named_arms(protocol, analysis, path, names)
        yield from (Found((*path, "futility"), message, on_key=True) for message in futility_problems(protocol, analysis, analysis.futility))
    for family, spanning in protocol.multiplicity.items():
        for index, member in enumerate(spanning.members):
            yield from _member(protocol, member, ("multiplicity", family, "members", index), names)
        if isinstance(spanning.procedure, GraphProcedure):
            for member in spanning.procedure.graph.weights:
                if member not in spanning.members:
                    place = ("multiplicity", family, "procedure", "graph", "weights", member)
                    yield Found(place, is_not(member, "a member of the family", spanning.members, "members"), on_key=True)


def futility_problems(protocol: Protocol, analysis: Analysis, futility: FutilityRule | None) -> Iterator[str]:
    """Why this analysis cannot have this futility rule."""
    if futility is None:
        return
    if analysis.sides == 2:
        yield "futility with sides: 2 is not defined; write sides: 1 and half the alpha"
    estimand = protocol.estimands.get(analysis.estimand or "")
    variable = analysis.endpoint if estimand is None else estimand.variable
    endpoint = protocol.endpoints.get(variable if isinstance(variable, str) else getattr(variable, "endpoint", ""))
    if isinstance(futility, HazardRatioAbove) and endpoint is not None and (not endpoint.is_event or endpoint.direction == "higher_is_better"):
        yield "hazard_ratio_above stops for harm where fewer or later events are better; this endpoint is not of that kind, so give the rule as z"


def _covariates(analysis: Analysis, path: Path, names: Names) -> Iterator[Found]:
    for index, covariate in enumerate(analysis.covariates):
        if covariate == TWIN_PROGNOSIS or names.covariates is None or covariate in names.covariates:
            continue
        yield Found((*path, "covariates", index), is_not(covariate, f"a covariate nor {TWIN_PROGNOSIS}", names.covariates, "covariates"))
    for index, covariate in enumerate(analysis.stratify_by):
        if names.covariates is not None and covariate not in names.covariates:
            yield Found((*path, "stratify_by", index), is_not(covariate, "a covariate", names.covariates, "covariates"))
        elif covariate in names.units and covariate not in names.levels:
            yield Found((*path, "stratify_by", index), f'"{covariate}" is a number and has no levels to stratify by')


def _method(protocol: Protocol, analysis: Analysis, path: Path) -> Iterator[Found]:
    endpoint = protocol.endpoints.get(endpoint_name(protocol, analysis) or "")
    allowed = analysis.endpoint_types
    kinds = {endpoint.type, "time_to_event"} if endpoint is not None and endpoint.is_event else {endpoint.type} if endpoint is not None else set()
    if endpoint is not None and allowed and not kinds & set(allowed):
        yield Found(
            (*path, "method"), f"{getattr(analysis, 'method', '')} cannot analyse a {endpoint.type} endpoint; it analyses {' and '.join(allowed)} endpoints"
        )


def _cause(protocol: Protocol, analysis: Analysis, cause: str, path: Path) -> Iterator[Found]:
    name = endpoint_name(protocol, analysis) or ""
    components = protocol.endpoints[name].components if name in protocol.endpoints else ()
    if components and cause not in components:
        yield Found((*path, "cause"), is_not(cause, f'an outcome of endpoint "{name}"', components, "outcomes"))


def _recurs(protocol: Protocol, analysis: Analysis, path: Path) -> Iterator[Found]:
    """A method for recurrent events needs an outcome whose events come again."""
    name = endpoint_name(protocol, analysis) or ""
    if analysis.takes is not RecurrentData or name not in protocol.endpoints or protocol.truth is None:
        return
    processes = {target: process for outcome, process in protocol.truth.outcomes.items() for target in process.targets(outcome)}
    for outcome in protocol.endpoints[name].components:
        process = processes.get(outcome)
        again = process is None or isinstance(process, Recurrent) or (isinstance(process, NegativeBinomial) and process.over_time)
        if not again:
            message = f'{getattr(analysis, "method", "")} needs events that come again; "{outcome}" does not (see dist: recurrent)'
            yield Found((*path, "method"), message)


def _named_arms(protocol: Protocol, analysis: Analysis, path: Path, names: Names) -> Iterator[Found]:
    """Options of single methods that name arms, endpoints or visits."""
    for option in ("contrast", "trend"):
        for arm in getattr(analysis, option, None) or {}:
            if arm not in names.arms:
                yield Found((*path, option, arm), is_not(arm, "an arm", names.arms, "arms"), on_key=True)
    for index, endpoint in enumerate(getattr(analysis, "hierarchy", ())):
        if endpoint not in names.endpoints:
            yield Found((*path, "hierarchy", index), is_not(endpoint, "an endpoint", names.endpoints, "endpoints"))
    for endpoint in getattr(analysis, "thresholds", None) or {}:
        if endpoint not in names.endpoints:
            yield Found((*path, "thresholds", endpoint), is_not(endpoint, "an endpoint", names.endpoints, "endpoints"), on_key=True)
    at = getattr(analysis, "at", None)
    # Without visits in the protocol they are those of the data (`analyse`).
    if isinstance(at, str) and at not in names.visits and (names.visits or names.has_truth):
        yield Found((*path, "at"), is_not(at, "a visit", names.visits, "visits"))
    cause = getattr(analysis, "cause", None)
    if cause is not None and names.has_truth and cause not in names.outcomes:
        yield Found((*path, "cause"), is_not(cause, "an outcome", names.outcomes, "outcomes"))
    elif cause is not None and names.has_truth:
        yield from _cause(protocol, analysis, cause, path)
    treatment = treatment_of(protocol, analysis)
    if isinstance(analysis.multiplicity, GraphProcedure) and treatment is not None:
        for arm in analysis.multiplicity.graph.weights:
            if arm not in treatment.tests:
                yield Found((*path, "multiplicity", "graph", "weights", arm), is_not(arm, "a test arm of this analysis", treatment.tests, "arms"), on_key=True)


def _member(protocol: Protocol, member: str, path: Path, names: Names) -> Iterator[Found]:
    name, _, arm = member.partition(":")
    if name not in names.analyses:
        yield Found(path, is_not(name, "an analysis", names.analyses, "analyses"))
    elif arm and name in protocol.analyses:
        treatment = treatment_of(protocol, protocol.analyses[name])
        if treatment is not None and arm not in treatment.tests:
            yield Found(path, is_not(arm, f'a test arm of "{name}"', treatment.tests, "arms"))
