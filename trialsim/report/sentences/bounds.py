"""What an analysis is held against at its looks: rules in words, and the critical values they come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy.special import ndtr

from trialsim.conduct import Interims
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.conduct.multiplicity import weighting_of
from trialsim.design import Bounds, FutilityRule, HazardRatioAbove, SpendingFutility, bounds
from trialsim.design.choice import Rule
from trialsim.design.futility import FutilityZ
from trialsim.errors import NotSupportedError, ProtocolError
from trialsim.report.sentences.passage import options
from trialsim.report.sentences.question import counts_events, endpoint_and_visit
from trialsim.report.wording import count, fixed, listed, number, probability
from trialsim.spec.families import Declared, families, hypotheses
from trialsim.spec.looks import monitored_analysis
from trialsim.spec.planning import arms_of, first_alpha, monitoring_plan, shares_of
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.analyses import AnyAnalysis


def plan_of(protocol: Protocol, name: str) -> MonitoringPlan | None:
    """The bounds' arithmetic of an analysis, by the function the engine uses; None where the protocol says too little for one."""
    analysis = protocol.analyses[name]
    about = endpoint_and_visit(protocol, analysis)
    if about is None:
        return None
    shares = shares_of(protocol, analysis, arms_of(protocol, analysis)[0][0])
    looks = [protocol.looks[look] for look in analysis.looks or () if look in protocol.looks]
    plan = monitoring_plan(name, analysis, looks, endpoint=about[0], is_event=counts_events(protocol, analysis), shares=shares)
    shared = family_of(protocol, name)
    return plan if shared is None else plan.at_level(first_alpha(shared[1], shared[0], analysis))


def family_of(protocol: Protocol, name: str) -> tuple[str, Declared] | None:
    """The first hypothesis of an analysis that is in a family, and the family."""
    own = hypotheses(protocol, name)
    return next(((member, family) for family in families(protocol).values() for member in family.members if member in own), None)


def monitoring(protocol: Protocol, name: str, analysis: AnyAnalysis) -> Iterator[list[str]]:
    """Its rules, then its bounds look by look: a paragraph each."""
    looks = [look for look in analysis.looks or () if look in protocol.looks]
    try:
        if protocol.interims is not None and monitored_analysis(protocol) == name:
            yield from _bare(protocol, protocol.interims, name, analysis)
        elif len(looks) <= 1:
            yield [_once(protocol, name, analysis, looks, plan_of(protocol, name)), _footnote(protocol, name, analysis)]
        else:
            yield from _at_looks(protocol, name, analysis, looks)
    except (NotSupportedError, ProtocolError) as error:
        reasons = error.what if isinstance(error, NotSupportedError) else tuple(problem.message.split(";")[0] for problem in error.problems)
        yield [f"The critical values of the analysis {name} cannot be computed: {listed(reasons)}."]


def _once(protocol: Protocol, name: str, analysis: AnyAnalysis, looks: Sequence[str], plan: MonitoringPlan | None) -> str:
    when = f"at {looks[0]}" if looks else "where the trial ends"
    alpha = "" if family_of(protocol, name) is not None else f", at its full alpha of {probability(analysis.alpha)}"
    said = f"The analysis {name} is made once, {when}{alpha}."
    if plan is None:
        return said
    z = float(plan.at_plan.efficacy_z[-1]) if looks else plan.at_end_only
    return f"{said} The critical value of z is {fixed(z, 4)}{' in absolute value' if analysis.tested_sides == 2 else ''}."


def _at_looks(protocol: Protocol, name: str, analysis: AnyAnalysis, looks: Sequence[str]) -> Iterator[list[str]]:
    plan = plan_of(protocol, name)
    if plan is None:
        yield [f"The analysis {name} is made at {listed(looks)}."]
        return
    unit = "event" if counts_events(protocol, analysis) else "patient"
    opening = f"The analysis {name} is made at {listed(looks)}; its information fractions are of {count(plan.planned)} planned {unit}s."
    rules = [opening, *_rules(analysis.efficacy, analysis.futility, analysis)]
    if plan.by_calendar:
        yield [
            *rules,
            "The information at a look is what has been observed then, so that the bounds are computed anew in every trial.",
            _footnote(protocol, name, analysis),
        ]
        return
    yield [*rules, _sign(analysis), _footnote(protocol, name, analysis)]
    places = [
        f"At {look} ({count(target, unit)}, information fraction {fixed(target / plan.planned, 3)})" for look, target in zip(looks, plan.targets, strict=True)
    ]
    yield [_bound(place, index, plan.at_plan, analysis.futility) for index, place in enumerate(places)]


def _bare(protocol: Protocol, interims: Interims, name: str, analysis: AnyAnalysis) -> Iterator[list[str]]:
    """The short form where totals are not known: fractions, and the bounds they imply."""
    fractions = [*(interims.timing.fractions or ()), 1.0]
    shared = family_of(protocol, name)
    alpha = analysis.alpha_one_sided * analysis.tested_sides if shared is None else first_alpha(shared[1], shared[0], analysis)
    found = bounds(efficacy=interims.efficacy, futility=interims.futility, alpha=alpha, sides=analysis.tested_sides, information=fractions)
    unit = {"events": "events", "calendar": "time"}.get(interims.timing.information, "patients")
    opening = f"The analysis {name} is made at {listed(fixed(t, 3) for t in fractions)} of its planned {unit}, a total that is not stated."
    yield [opening, *_rules(interims.efficacy, interims.futility, analysis), _sign(analysis), _footnote(protocol, name, analysis)]
    yield [_bound(f"At {fixed(t, 3)} of the information", index, found, interims.futility) for index, t in enumerate(fractions)]


def _rules(efficacy: Rule | None, futility: FutilityRule | None, analysis: AnyAnalysis) -> list[str]:
    return [_efficacy(efficacy, analysis)] + ([] if futility is None else [_futility(futility)])


def _sign(analysis: AnyAnalysis) -> str:
    return "z is positive when it favours the test arm" + ("." if analysis.tested_sides == 1 else "; both directions count.")


def _footnote(protocol: Protocol, name: str, analysis: AnyAnalysis) -> str:
    """What a critical value of z leaves out."""
    said = []
    if analysis.method in ("t_test", "ancova", "mmrm", "clda"):
        said.append("A statistic with degrees of freedom is compared through its p-value.")
    shared = family_of(protocol, name)
    if shared is not None and shared[1].procedure != "none":
        member, family = shared
        alpha = probability(family.alpha * family.first_share(member))
        whose = f" of {member.partition(':')[2]}" if ":" in member else ""
        index, weighting = family.members.index(member), family.weighting
        if weighting is not None and not weighting.shares(0)[index] > 0:
            why = "the most that it can inherit; it has no share before another hypothesis is rejected"
        elif weighting_of(family.procedure, family.names) is None:
            why = "which suffices whatever the others show"
        else:
            why = "its share before anything is rejected"
        said.append(f"Critical values{whose} are those at an alpha of {alpha}, {why}.")
    return " ".join(said)


def _rule(rule: Rule) -> str:
    """`Lan–DeMets spending of the O'Brien–Fleming type`, with its parameters."""
    field = type(rule).model_fields.get(rule.key)
    words = (field.description or "").split(":")[0].rstrip(".") if field is not None and rule.word() is not None else rule.key.replace("_", " ")
    said = options(rule, skip=(rule.key, "binding", "beta", "alpha"), labels={"values": "values"})
    start = words[:1].lower() + words[1:] if words.split(" ")[0] in ("The", "A", "Cumulative", "Nominal", "Critical") else words
    return start + (f" with {listed(said)}" if said else "")


def _efficacy(rule: Rule | None, analysis: AnyAnalysis) -> str:
    if rule is None:
        return f"Efficacy can be declared at the final look only, with all alpha ({probability(analysis.alpha)})."
    return f"Efficacy is monitored by {_rule(rule)}, for a total {'one-sided' if analysis.sides == 1 else 'two-sided'} alpha of {probability(analysis.alpha)}."


def _futility(rule: FutilityRule) -> str:
    if isinstance(rule, SpendingFutility):
        spent = (
            f"a type II error of {probability(rule.beta)}"
            if rule.beta is not None
            else f"a probability of {probability(rule.alpha or 0.0)} under the null hypothesis"
        )
        how = f"Futility is monitored by a lower bound that spends {spent} by {_rule(rule)}"
    elif isinstance(rule, HazardRatioAbove):
        how = "The trial stops for futility when the estimated hazard ratio exceeds the value of the look"
    elif isinstance(rule, FutilityZ):
        how = "The trial stops for futility when z is below the bound of the look"
    else:
        how = f"Futility is monitored by {rule.key.replace('_', ' ')}: {listed(options(rule, skip=('binding',)))}"
    if rule.binding:
        return f"{how}. The rule is binding: it must be obeyed, and the efficacy bounds take it into account."
    return (
        f"{how}. The rule is non-binding: the efficacy bounds ignore it. The simulated trials obey it; under a null hypothesis the type I error is also "
        "reported with futility ignored, which is what is held against alpha."
    )


def _bound(place: str, index: int, found: Bounds, futility: FutilityRule | None) -> str:
    z, low = float(found.efficacy_z[index]), float(found.futility_z[index])
    if math.isfinite(z):
        statistic, side = ("|z|", "two") if found.sides == 2 else ("z", "one")
        nominal = f"{side}-sided p at most {fixed(found.sides * float(ndtr(-z)), 5)}; alpha spent so far {fixed(float(found.cumulative_alpha[index]), 5)}"
        said = [f"efficacy is declared when {statistic} is at least {fixed(z, 4)} ({nominal})"]
    else:
        said = ["efficacy cannot be declared"]
    if index < len(found.efficacy_z) - 1:
        said += _stop(index, low, futility)
    return f"{place} {listed(said)}."


def _stop(index: int, low: float, futility: FutilityRule | None) -> list[str]:
    """Where an interim look stops for futility."""
    if isinstance(futility, HazardRatioAbove):
        limit = futility.hazard_ratio_above[index]
        about = f" (z below about {fixed(low, 4)})" if math.isfinite(low) else ""
        return [] if limit is None else [f"the trial stops for futility when the estimated hazard ratio exceeds {number(limit)}{about}"]
    return [f"the trial stops for futility when z is below {fixed(low, 4)}"] if futility is not None and math.isfinite(low) else []
