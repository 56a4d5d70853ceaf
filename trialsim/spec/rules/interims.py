"""The short form of looks: targets that make sense, in order, within the trial, and rules that fit the number of looks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from trialsim.conduct import Interims, Timing
from trialsim.spec.looks import endpoint_name, monitored_analysis, targets
from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.spec.rules.analyses import futility_problems
from trialsim.units import Quantity

TIMING = ("interims", "timing")


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    interims = protocol.interims
    if interims is None:
        return
    if names.looks:
        yield Found(("interims",), "the short form of looks, which are there too; give one of them", on_key=True)
    if interims.analysis is not None and interims.analysis not in names.analyses:
        yield Found(("interims", "analysis"), is_not(interims.analysis, "an analysis", names.analyses, "analyses"))
    # An analysis that is itself invalid is absent here; which one is meant is then not guessed.
    chosen = monitored_analysis(protocol) if len(protocol.analyses) == len(names.analyses) else interims.analysis
    analysis = protocol.analyses.get(chosen) if chosen is not None else None
    if chosen is None and protocol.analyses and len(protocol.analyses) == len(names.analyses):
        yield Found(("interims", "analysis"), "missing; it says which analysis is made at the looks")
    if analysis is not None:
        for key in ("looks", "efficacy", "futility"):
            if getattr(analysis, key) is not None:
                yield Found(("analyses", str(chosen), key), f'"{chosen}" is the analysis of interims, which says this', on_key=True)
        yield from (Found(("interims", "futility"), message, on_key=True) for message in futility_problems(protocol, analysis, interims.futility))
    problems = [*_form(interims.timing), *_references(protocol, interims, names, chosen)]
    yield from problems
    if not problems:
        out_of_order = list(_order(interims.timing))
        yield from out_of_order or _within(protocol, interims)
        yield from _rules(interims)


def _form(timing: Timing) -> Iterator[Found]:
    if timing.fractions is not None and timing.at is not None:
        yield Found(TIMING, "give fractions or at, not both")
    if timing.fractions is None and timing.at is None and timing.final is None and timing.information in ("events", "calendar"):
        yield Found(TIMING, "says no look; give final, and fractions or at for interim looks")
    if timing.at is not None and not timing.at:
        yield Found((*TIMING, "at"), "should not be empty")
    for index, fraction in enumerate(timing.fractions or ()):
        if not 0 < fraction < 1:
            yield Found((*TIMING, "fractions", index), f"{fraction:g} is not between 0 and 1; the final look follows by itself")
    quantities: list[tuple[Path, Quantity]] = [(("at", index), quantity) for index, quantity in enumerate(timing.at or ())]
    if timing.final is not None:
        quantities.append((("final",), timing.final))
    for place, quantity in quantities:
        if timing.information == "calendar" and quantity.dimension != "time":
            yield Found((*TIMING, *place), f"{quantity} needs a unit of time (days, weeks, months or years)")
        elif timing.information != "calendar" and (quantity.dimension or quantity.value != int(quantity.value)):
            yield Found((*TIMING, *place), f"should be a whole number of {'events' if timing.information == 'events' else 'patients'}, not {quantity}")
        elif quantity.value <= 0:
            yield Found((*TIMING, *place), f"should be above 0, not {quantity}")


def _references(protocol: Protocol, interims: Interims, names: Names, chosen: str | None) -> Iterator[Found]:
    timing = interims.timing
    if timing.at_visit is not None:
        if timing.information != "completers":
            yield Found((*TIMING, "at_visit"), "belongs to information: completers", on_key=True)
        elif timing.at_visit not in names.visits:
            yield Found((*TIMING, "at_visit"), is_not(timing.at_visit, "a visit", names.visits, "visits"))
    if timing.endpoint is not None:
        if timing.endpoint not in names.endpoints:
            yield Found((*TIMING, "endpoint"), is_not(timing.endpoint, "an endpoint", names.endpoints, "endpoints"))
        elif timing.information not in ("events", "completers"):
            yield Found((*TIMING, "endpoint"), f"information: {timing.information} counts no endpoint", on_key=True)
    if timing.information == "events":
        name = timing.endpoint
        if name is None and chosen in protocol.analyses:
            name = endpoint_name(protocol, protocol.analyses[str(chosen)])
        endpoint = protocol.endpoints.get(name or "")
        if endpoint is not None and not endpoint.is_event:
            yield Found((*TIMING, "information"), f'endpoint "{name}" has no events to count; it is {endpoint.type}')


def _order(timing: Timing) -> Iterator[Found]:
    for earlier, later in itertools.pairwise(range(len(timing.fractions or ()))):
        first, second = (timing.fractions or [])[earlier], (timing.fractions or [])[later]
        if second <= first:
            yield Found((*TIMING, "fractions", later), f"{second:g} follows {first:g}; fractions must increase")
    at = timing.at or []
    for earlier, later in itertools.pairwise(range(len(at))):
        if at[later].value <= at[earlier].value:
            yield Found((*TIMING, "at", later), f"{at[later]} follows {at[earlier]}; the targets must increase")
    if at and timing.final is not None and timing.final.value <= at[-1].value:
        yield Found((*TIMING, "final"), f"{timing.final} is not above the last interim target, {at[-1]}")


def _within(protocol: Protocol, interims: Interims) -> Iterator[Found]:
    """Targets in patients (or first events of patients) cannot exceed the planned enrolment; neighbours differ."""
    timing = interims.timing
    planned = protocol.population.planned_enrollment if protocol.population is not None else None
    if planned is not None and timing.information != "calendar":
        what = "events" if timing.information == "events" else "patients"
        stated: list[tuple[Path, Quantity]] = [(("at", index), quantity) for index, quantity in enumerate(timing.at or ())]
        stated += [(("final",), timing.final)] if timing.final is not None else []
        for place, quantity in stated:
            if quantity.value > planned:
                yield Found((*TIMING, *place), f"{quantity} {what} cannot be reached; {planned} patients are planned")
    known = targets(protocol, interims)
    if known is not None and timing.fractions:
        for index, (first, second) in enumerate(itertools.pairwise(known)):
            if second <= first:
                later = min(index + 1, len(timing.fractions) - 1)
                yield Found((*TIMING, "fractions", later), f"two looks at {second:g} {timing.information}; the fractions are too close")


def _rules(interims: Interims) -> Iterator[Found]:
    n_looks = count_of_looks(interims.timing)
    for key, rule in (("efficacy", interims.efficacy), ("futility", interims.futility)):
        if rule is not None:
            yield from (Found(("interims", key), message, on_key=True) for message in rule.check_looks(n_looks))


def count_of_looks(timing: Timing) -> int:
    """The number of looks, the final one included."""
    if timing.at is not None:
        return len(timing.at) + (timing.final is not None)
    return len(timing.fractions or ()) + 1
