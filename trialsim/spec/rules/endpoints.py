"""Endpoints name outcomes and visits, and fit what they measure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol
from trialsim.twins.events import EventProcess, IllnessDeath, Recurrent
from trialsim.twins.events.illness_death import TRANSITIONS
from trialsim.twins.process import OutcomeProcess
from trialsim.twins.values import Bernoulli, NegativeBinomial, NormalValue, Ordinal, Poisson

MEASURED: dict[str, tuple[tuple[type[OutcomeProcess], ...], str]] = {
    "binary": ((Bernoulli,), "a bernoulli outcome"),
    "ordinal": ((Ordinal,), "an ordinal outcome"),
    "count": ((Poisson, NegativeBinomial, Recurrent), "a poisson, negative_binomial or recurrent outcome"),
}
"""Type of endpoint -> the outcomes it can measure, and how these are called."""
EVENT_PROCESSES: tuple[type[OutcomeProcess], ...] = get_args(EventProcess)


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    outcomes = protocol.truth.outcomes if protocol.truth is not None else {}
    processes = {target: process for name, process in outcomes.items() for target in process.targets(name)}
    for name, endpoint in protocol.endpoints.items():
        path = ("endpoints", name)
        named = [(("outcome",), endpoint.outcome)] if endpoint.outcome is not None else []
        places = [*named, *((("outcomes", index), outcome) for index, outcome in enumerate(endpoint.outcomes))]
        if names.has_truth and not places and endpoint.type != "composite":
            yield Found((*path, "outcome"), "missing; it says which outcome of truth is measured")
        for place, outcome in places:
            if names.has_truth and outcome not in names.outcomes:
                yield Found((*path, *place), is_not(str(outcome), "an outcome", names.outcomes, "outcomes"))
            process = processes.get(str(outcome))
            if process is None:
                continue
            is_event = isinstance(process, EVENT_PROCESSES)
            if isinstance(process, IllnessDeath) and outcome in outcomes:
                yield Found((*path, *place), f'"{outcome}" is a process; name what it yields: {", ".join(TRANSITIONS)}')
            elif endpoint.is_event and not is_event:
                yield Found((*path, *place), f'"{outcome}" is a value, not an event; a {endpoint.type} endpoint needs an event time')
            elif endpoint.type == "continuous" and is_event:
                yield Found((*path, *place), f'"{outcome}" is an event time; a continuous endpoint needs a value')
            elif endpoint.type in MEASURED and not isinstance(process, MEASURED[endpoint.type][0]):
                kind = getattr(process, "dist", getattr(process, "model", ""))
                yield Found(
                    (*path, *place),
                    f'"{outcome}" is {kind}; {"an" if endpoint.type == "ordinal" else "a"} {endpoint.type} endpoint measures {MEASURED[endpoint.type][1]}',
                )
            changes = endpoint.change_from in names.visits and endpoint.change_from not in endpoint.at
            if changes and isinstance(process, NormalValue) and process.baseline is None:
                yield Found(
                    (*path, "change_from"),
                    f'the change of "{outcome}" is always 0: it is a single value; name the covariate that is its baseline in truth.outcomes.{outcome}.baseline',
                )
        for index, visit in enumerate(endpoint.at):
            if visit not in names.visits:
                yield Found((*path, "at", index), is_not(visit, "a visit", names.visits, "visits"))
        if endpoint.change_from is not None and endpoint.type != "continuous":
            yield Found((*path, "change_from"), f"a change is that of a continuous endpoint; this one is {endpoint.type}")
        if endpoint.change_from is not None and endpoint.change_from not in names.visits:
            yield Found((*path, "change_from"), is_not(endpoint.change_from, "a visit", names.visits, "visits"))
        if endpoint.change_from is not None and endpoint.change_from in endpoint.at:
            yield Found((*path, "change_from"), f'the change from "{endpoint.change_from}" at "{endpoint.change_from}" is always 0')
