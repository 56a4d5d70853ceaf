"""From the short form `interims` to the long form: `looks`, and what the analysis says about them.

`fractions` (and `at` with `final`) list the interim looks only; the final look always follows. Targets of fractions round
half up to whole events or patients. `and_at_least` delays the final look only, `not_after` stands on every look, and
`adaptations` on the interim looks.

`final` defaults to all planned patients with their endpoint (completers, enrolled); events and calendar times have no
default. Where the total cannot be known the short form stays: `design` computes the boundary from the fractions.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trialsim.analysis import Analysis
from trialsim.conduct import Interims, Look
from trialsim.conduct.looks import (
    AfterLastPatientInTrigger,
    AllTrigger,
    CalendarTrigger,
    CompletersTrigger,
    EnrolledTrigger,
    EventsTrigger,
    Information,
    Trigger,
)
from trialsim.spec.protocol import Protocol

FINAL = "final"


def monitored_analysis(protocol: Protocol) -> str | None:
    """The analysis that `interims` is about: the one named, else the only one, else the first on a primary endpoint."""
    assert protocol.interims is not None
    if protocol.interims.analysis is not None:
        return protocol.interims.analysis
    if len(protocol.analyses) == 1:
        return next(iter(protocol.analyses))
    for name, analysis in protocol.analyses.items():
        endpoint = protocol.endpoints.get(endpoint_name(protocol, analysis) or "")
        if endpoint is not None and endpoint.level == "primary":
            return name
    return None


def endpoint_name(protocol: Protocol, analysis: Analysis) -> str | None:
    """The endpoint an analysis is about, by itself or by its estimand."""
    if analysis.estimand is None:
        return analysis.endpoint
    estimand = protocol.estimands.get(analysis.estimand)
    return estimand.endpoint if estimand is not None else None


def counted_endpoint(protocol: Protocol, interims: Interims) -> str | None:
    """The endpoint whose events, or whose visit, the looks wait for."""
    name = monitored_analysis(protocol)
    analysis = protocol.analyses.get(name) if name is not None else None
    return interims.timing.endpoint or (endpoint_name(protocol, analysis) if analysis is not None else None)


def counted_visit(protocol: Protocol, interims: Interims) -> str | None:
    """The visit that completers have reached: as stated, else the last at which the endpoint is measured."""
    if interims.timing.at_visit is not None:
        return interims.timing.at_visit
    endpoint = protocol.endpoints.get(counted_endpoint(protocol, interims) or "")
    visits = [visit for visit in (endpoint.at if endpoint is not None else ()) if visit in protocol.visits]
    return max(visits, key=lambda visit: protocol.visits[visit].at or 0.0, default=None)


def final_target(protocol: Protocol, interims: Interims) -> float | None:
    """The target of the final look, None where it cannot be known."""
    timing = interims.timing
    if timing.final is not None:
        return timing.final.value
    if timing.at is not None:
        return timing.at[-1].value
    planned = protocol.population.planned_enrollment if protocol.population is not None else None
    return planned if timing.information in ("enrolled", "completers") else None


def half_up(fraction: float, total: float) -> int:
    """`fraction` x `total`, as written in decimals, rounded half up."""
    return int((Decimal(repr(fraction)) * Decimal(repr(total))).quantize(Decimal(1), ROUND_HALF_UP))


def targets(protocol: Protocol, interims: Interims) -> list[float] | None:
    """The targets of all looks in order (events, patients or days), None where the total cannot be known."""
    timing, final = interims.timing, final_target(protocol, interims)
    if final is None:
        return None
    if timing.at is not None:
        stated = [quantity.value for quantity in timing.at]
        return [*stated, final] if timing.final is not None else stated
    whole = timing.information != "calendar"
    return [*(half_up(fraction, final) if whole else fraction * final for fraction in timing.fractions or ()), final]


def lengthened(protocol: Protocol) -> Protocol:
    """The protocol with `interims` written as `looks`; unchanged where that is impossible."""
    interims = protocol.interims
    if interims is None:
        return protocol
    name, values = monitored_analysis(protocol), targets(protocol, interims)
    visit, endpoint = counted_visit(protocol, interims), counted_endpoint(protocol, interims)
    if name is None or name not in protocol.analyses or values is None or (interims.timing.information == "completers" and visit is None):
        return protocol
    ids = [*(f"look{index + 1}" for index in range(len(values) - 1)), FINAL]
    looks = {}
    for id, value in zip(ids, values, strict=True):
        is_final = id == FINAL
        trigger = _trigger(interims, value, endpoint=endpoint, visit=visit)
        if is_final and interims.timing.and_at_least is not None:
            at_least = AfterLastPatientInTrigger.model_construct(after_last_patient_in=interims.timing.and_at_least.after_last_patient_in)
            trigger = AllTrigger.model_construct(all=[trigger, at_least])
        adaptations = None if is_final and len(ids) > 1 else interims.adaptations
        looks[id] = Look.model_construct(when=trigger, not_after=interims.timing.not_after, adaptations=adaptations)
    monitoring: dict[str, Any] = {"looks": ids}
    if interims.timing.information != "calendar":
        monitoring["information"] = protocol.analyses[name].information or Information.model_construct(planned=values[-1])
    monitoring |= {key: rule for key in ("efficacy", "futility") if (rule := getattr(interims, key)) is not None}
    analysis = protocol.analyses[name].model_copy(update=monitoring)
    return protocol.model_copy(update={"interims": None, "looks": looks, "analyses": {**protocol.analyses, name: analysis}})


def _trigger(interims: Interims, value: float, *, endpoint: str | None, visit: str | None) -> Trigger:
    information = interims.timing.information
    if information == "events":
        return EventsTrigger.model_construct(events=math.floor(value), endpoint=endpoint)
    if information == "completers":
        assert visit is not None
        return CompletersTrigger.model_construct(completers=math.floor(value), at_visit=visit)
    if information == "enrolled":
        return EnrolledTrigger.model_construct(enrolled=math.floor(value))
    return CalendarTrigger.model_construct(calendar=value)
