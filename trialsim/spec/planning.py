"""From the words of a concrete protocol to what conduct runs: compiled looks and analyses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialsim.analysis import Analysis
from trialsim.conduct import Look, Monitoring, Trigger
from trialsim.conduct.comparison import PlannedAnalysis, Tier
from trialsim.conduct.looks import AfterLastPatientInTrigger, AllTrigger, AnyTrigger, CompletersTrigger, EnrolledTrigger, EventsTrigger
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.errors import NotSupportedError, Problem, ProtocolError
from trialsim.spec.families import Declared, arms_of, as_made, families, hypotheses

if TYPE_CHECKING:
    from trialsim.spec.protocol import Protocol

__all__ = ["arms_of", "favours_of", "monitoring_plan", "planned_analyses", "planned_looks"]
FINAL = "final"


def planned_looks(protocol: Protocol) -> dict[str, Look]:
    """The looks of the trial in calendar order.

    Without any, a trial of single-valued endpoints is analysed once, when every planned patient has reached the last visit.
    """
    if protocol.looks:
        return dict(protocol.looks)
    if any(endpoint.is_event for endpoint in protocol.endpoints.values()):
        raise ProtocolError(Problem("a time-to-event analysis needs interims or looks that say when the data are cut", path="interims"))
    last = max((visit_time(protocol, visit) for endpoint in protocol.endpoints.values() for visit in endpoint.at), default=None)
    if last is None:
        raise ProtocolError(Problem("events that are counted to the end of follow-up need interims or looks that say when the data are cut", path="interims"))
    return {FINAL: Look(when=AfterLastPatientInTrigger.model_construct(after_last_patient_in=last))}


def visit_time(protocol: Protocol, visit: str) -> float:
    """When a visit is, in days since randomisation."""
    at = protocol.visits[visit].at
    if at is None:
        raise NotSupportedError(f"visits.{visit}: repeated visits (every)")
    return at


def endpoint_of(protocol: Protocol, analysis: Analysis) -> tuple[str, str | None]:
    """The endpoint of an analysis, and its visit where the endpoint is measured at visits."""
    visit: str | None = None
    if analysis.estimand is not None:
        variable = protocol.estimands[analysis.estimand].variable
        name, visit = (variable, None) if isinstance(variable, str) else (variable.endpoint, variable.at)
    else:
        # A comparison over a hierarchy is about its most important endpoint where it names none.
        name = analysis.endpoint or getattr(analysis, "hierarchy", ("",))[0]
    own = getattr(analysis, "at", None)
    return name, own if isinstance(own, str) else visit or last_visit(protocol, name)


def last_visit(protocol: Protocol, name: str) -> str | None:
    """The last visit of an endpoint; None for a time to event, and for what is counted to the end of follow-up."""
    endpoint = protocol.endpoints[name]
    return None if endpoint.is_event else max(endpoint.at, key=lambda at: visit_time(protocol, at), default=None)


def visits_of(protocol: Protocol, name: str) -> tuple[str, ...]:
    """The visits of an endpoint in order of time; a model of all visits uses those that have been reached."""
    return tuple(sorted(protocol.endpoints[name].at, key=lambda at: visit_time(protocol, at)))


def tiers_of(protocol: Protocol, analysis: Analysis) -> tuple[Tier, ...]:
    """The endpoints of a hierarchy. A later event is better where fewer are: time wins by being longer."""
    thresholds = getattr(analysis, "thresholds", None) or {}
    found = []
    for name in getattr(analysis, "hierarchy", ()):
        good = favours_of(protocol, name) * (-1 if protocol.endpoints[name].is_event else 1)
        found.append(Tier(name, last_visit(protocol, name), good, thresholds[name].value if name in thresholds else 0.0))
    return tuple(found)


def cause_of(protocol: Protocol, analysis: Analysis, endpoint: str) -> str | None:
    """The outcome of interest of a method for competing causes: as named, else the endpoint's first; None for other methods."""
    if not hasattr(analysis, "cause"):
        return None
    components = protocol.endpoints[endpoint].components
    return (analysis.cause or components[0]) if len(components) > 1 else None


def favours_of(protocol: Protocol, endpoint: str) -> int:
    """+1 when a larger estimate favours the test arm: events lower, values higher, unless `direction` says otherwise."""
    declared = protocol.endpoints[endpoint]
    direction = declared.direction or ("lower_is_better" if declared.is_event else "higher_is_better")
    return 1 if direction == "higher_is_better" else -1


def planned_analyses(protocol: Protocol, looks: Mapping[str, Look], *, ignore_futility: bool) -> dict[str, PlannedAnalysis]:
    """Every comparison as conduct needs it: by analysis, or by `analysis:arm` where an analysis compares several arms.

    The bounds of a member of a family are those of the share of alpha that it holds at first. In a trial of one look all members
    of families are analysed there.
    """
    arms = list(protocol.arms)
    order = list(looks)
    shared = families(protocol)
    plans = {}
    for name in protocol.analyses:
        analysis = as_made(protocol, name)
        tests, reference = arms_of(protocol, analysis)
        endpoint, visit = endpoint_of(protocol, analysis)
        tiers = tiers_of(protocol, analysis)
        for key, arm in hypotheses(protocol, name).items():
            test = arm or tests[0]
            family = next((family for family in shared.values() if key in family.members), None)
            made_at = tuple(order.index(look) for look in analysis.looks or ())
            if family is not None and len(order) == 1:
                made_at = (0,)
            monitoring = monitoring_plan(
                name,
                analysis,
                [looks[order[index]] for index in made_at],
                endpoint=endpoint,
                is_event=protocol.endpoints[endpoint].is_event,
                shares=shares_of(protocol, analysis, test),
            )
            informing = (reference, *tests) if monitoring.by_calendar else tuple(arms)
            if family is not None:
                monitoring = monitoring.at_level(first_alpha(family, key, analysis))
            futility = monitoring.futility
            plans[key] = PlannedAnalysis(
                method=analysis.comparing(test),
                endpoint=endpoint,
                test=arms.index(test),
                reference=arms.index(reference),
                favours=1 if tiers else favours_of(protocol, endpoint),
                looks=made_at,
                monitoring=monitoring,
                visit=visit,
                visits=() if visit is None else visits_of(protocol, endpoint),
                day=visit_time(protocol, visit) if visit is not None else 0.0,
                tiers=tiers,
                cause=cause_of(protocol, analysis, endpoint),
                is_event=protocol.endpoints[endpoint].is_event,
                kind=protocol.endpoints[endpoint].type,
                summary=protocol.estimands[analysis.estimand].summary_measure if analysis.estimand is not None else None,
                ignore_futility=ignore_futility and futility is not None and not futility.binding,
                others=tuple(arms.index(other) for other in tests if other != test) if analysis.joint else (),
                analysis=name,
                arm=arm,
                pooled=tuple(arms.index(each) for each in (reference, *tests)) if len(tests) > 1 else (),
                informing=tuple(arms.index(each) for each in informing) if len(informing) > 2 else (),
            )
    return plans


def first_alpha(family: Declared, member: str, analysis: Analysis) -> float:
    """The alpha (total over the sides of its test) that a member holds at first."""
    return family.alpha * analysis.tested_sides / analysis.sides * family.first_share(member)


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the two compared arms: the test arm's share of their patients, and theirs of all patients in the trial and in the analysis."""

    test: float
    of_trial: float
    of_analysis: float


def shares_of(protocol: Protocol, analysis: Analysis, test: str) -> Shares:
    """The shares of a comparison by the planned allocation."""
    tests, reference = arms_of(protocol, analysis)
    ratio = (protocol.randomization.ratio if protocol.randomization else None) or dict.fromkeys(protocol.arms, 1)
    two = ratio[test] + ratio[reference]
    return Shares(ratio[test] / two, two / sum(ratio.values()), two / sum(ratio[arm] for arm in (reference, *tests)))


def monitoring_plan(name: str, analysis: Analysis, looks: list[Look], *, endpoint: str, is_event: bool, shares: Shares) -> MonitoringPlan:
    """The bounds' arithmetic of one comparison: planned information at its looks, or spending by calendar.

    The total that a look waits for is filled by all arms of the trial; what is observed at other looks is of the analysis.
    """
    assert isinstance(analysis, Monitoring)
    targets = [information_target(look.when, endpoint=endpoint, is_event=is_event) for look in looks]
    planned = analysis.information.planned if analysis.information else (targets[-1] if targets else None)
    by_calendar = any(target is None for target in targets)
    if len(looks) <= 1:
        targets, planned, by_calendar = [1.0], 1.0, False
    elif planned is None or (by_calendar and analysis.information is None):
        raise ProtocolError(
            Problem(
                "looks that are not triggered by the information of this analysis spend at observed / planned information; give information: {planned: …}",
                path=f"analyses.{name}",
            )
        )
    plan = MonitoringPlan(
        alpha=analysis.alpha_one_sided * analysis.tested_sides,
        sides=analysis.tested_sides,
        efficacy=analysis.efficacy,
        futility=analysis.futility,
        targets=tuple(float(target or 0.0) for target in targets),
        planned=float(planned or 1.0),
        by_calendar=by_calendar,
        test_share=shares.test,
        compared_share=shares.of_analysis if by_calendar else shares.of_trial,
    )
    if by_calendar and not plan.can_follow_the_calendar:
        raise ProtocolError(
            Problem("looks that are not triggered by the information of this analysis need a spending function", path=f"analyses.{name}.efficacy")
        )
    return plan


def information_target(trigger: Trigger, *, endpoint: str, is_event: bool) -> float | None:
    """The information at which the trigger fires, in the units of the analysis (events or patients); None: not known."""
    if isinstance(trigger, EventsTrigger):
        return float(trigger.events) if is_event and trigger.endpoint in (None, endpoint) else None
    if isinstance(trigger, EnrolledTrigger):
        return None if is_event else float(trigger.enrolled)
    if isinstance(trigger, CompletersTrigger):
        return None if is_event else float(trigger.completers)
    if isinstance(trigger, AllTrigger):
        known = [found for part in trigger.all if (found := information_target(part, endpoint=endpoint, is_event=is_event)) is not None]
        return max(known, default=None)
    if isinstance(trigger, AnyTrigger):
        # Any other condition may come first, at information nobody planned.
        parts = [information_target(part, endpoint=endpoint, is_event=is_event) for part in trigger.any]
        return None if None in parts else min(part for part in parts if part is not None)
    return None
