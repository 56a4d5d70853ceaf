"""The long form of looks: triggers name endpoints and visits, targets are within the trial and in order."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.conduct.looks import AllTrigger, AnyTrigger, CalendarTrigger, CompletersTrigger, EnrolledTrigger, EventsTrigger
from trialsim.parts import Part
from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol


def triggers(trigger: Part, path: Path) -> Iterator[tuple[Path, Part]]:
    """A trigger and the ones inside it."""
    yield path, trigger
    if isinstance(trigger, AllTrigger | AnyTrigger):
        key, inner = ("all", trigger.all) if isinstance(trigger, AllTrigger) else ("any", trigger.any)
        for index, item in enumerate(inner):
            yield from triggers(item, (*path, key, index))


def target(trigger: Part) -> tuple[str, str, float] | None:
    """(key, what is counted, target) of a single condition; None of the conditions that have none."""
    if isinstance(trigger, EventsTrigger):
        return "events", trigger.endpoint or "", trigger.events
    if isinstance(trigger, CompletersTrigger):
        return "completers", trigger.at_visit, trigger.completers
    if isinstance(trigger, EnrolledTrigger):
        return "enrolled", "", trigger.enrolled
    return ("calendar", "", trigger.calendar) if isinstance(trigger, CalendarTrigger) else None


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    planned = protocol.population.planned_enrollment if protocol.population is not None else None
    reached: dict[tuple[str, str], float] = {}
    for name, look in protocol.looks.items():
        for path, trigger in triggers(look.when, ("looks", name, "when")):
            if isinstance(trigger, EventsTrigger) and trigger.endpoint is not None:
                endpoint = protocol.endpoints.get(trigger.endpoint)
                if trigger.endpoint not in names.endpoints:
                    yield Found((*path, "endpoint"), is_not(trigger.endpoint, "an endpoint", names.endpoints, "endpoints"))
                elif endpoint is not None and not endpoint.is_event:
                    yield Found((*path, "endpoint"), f'endpoint "{trigger.endpoint}" has no events to count; it is {endpoint.type}')
            if isinstance(trigger, EventsTrigger) and trigger.endpoint is None and len(names.endpoints) > 1:
                yield Found((*path, "endpoint"), "missing; it says which endpoint's events are counted")
            if isinstance(trigger, CompletersTrigger) and trigger.at_visit not in names.visits:
                yield Found((*path, "at_visit"), is_not(trigger.at_visit, "a visit", names.visits, "visits"))
            stated = target(trigger)
            if stated is not None and planned is not None and stated[0] != "calendar" and stated[2] > planned:
                what = "events" if stated[0] == "events" else "patients"
                yield Found((*path, stated[0]), f"{stated[2]} {what} cannot be reached; {planned} patients are planned")
        alone = target(look.when)
        if alone is not None:
            if alone[2] <= reached.get(alone[:2], 0.0):
                yield Found(("looks", name, "when", alone[0]), f"an earlier look waits for {reached[alone[:2]]:g}; looks are in calendar order")
            reached[alone[:2]] = max(alone[2], reached.get(alone[:2], 0.0))
    for name, analysis in protocol.analyses.items():
        yield from _own_looks(name, analysis.looks, names)
        n_looks = len(analysis.looks) if analysis.looks else 1
        for key, rule in (("efficacy", analysis.efficacy), ("futility", analysis.futility)):
            if rule is not None:
                yield from (Found(("analyses", name, key), message, on_key=True) for message in rule.check_looks(n_looks))


def _own_looks(analysis: str, own: list[str] | None, names: Names) -> Iterator[Found]:
    order = list(names.looks)
    for index, look in enumerate(own or ()):
        path = ("analyses", analysis, "looks", index)
        if look not in order:
            yield Found(path, is_not(look, "a look", order, "looks"))
        elif index and own is not None and own[index - 1] in order and order.index(look) <= order.index(own[index - 1]):
            yield Found(path, f'"{look}" does not come after "{own[index - 1]}"; looks are in calendar order')
    if own is not None and not own:
        yield Found(("analyses", analysis, "looks"), "should not be empty; leave it out for one analysis where the trial ends")
