"""When the data are cut, and the critical values each look is held against."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scipy.special import ndtr

from trialsim.conduct import Look, Trigger
from trialsim.conduct.looks import AfterLastPatientInTrigger, AllTrigger, AnyTrigger, CalendarTrigger, CompletersTrigger, EnrolledTrigger, EventsTrigger
from trialsim.conduct.monitoring import MonitoringPlan
from trialsim.design import Bounds, FutilityRule, HazardRatioAbove, SpendingFutility
from trialsim.design.choice import Rule
from trialsim.design.futility import FutilityZ
from trialsim.errors import NotSupportedError
from trialsim.report.sentences.passage import Passage, options
from trialsim.report.wording import count, counted, fixed, listed, number, probability, time, value
from trialsim.spec.planning import arms_of, endpoint_of, monitoring_plan
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.analyses import AnyAnalysis


def the_looks(protocol: Protocol) -> Passage:
    """The data cuts, then for each analysis its boundaries."""
    cuts: list[str] = []
    if protocol.looks:
        cuts.append(f"The data are cut at {counted(len(protocol.looks), 'look')}.")
        cuts += [_look(name, look, protocol) for name, look in protocol.looks.items()]
    return Passage.of("Looks and boundaries", cuts, *[said for name, analysis in protocol.analyses.items() for said in _monitoring(protocol, name, analysis)])


def _look(name: str, look: Look, protocol: Protocol) -> str:
    limit = f", and at the latest {time(look.not_after)} after accrual opens" if look.not_after is not None else ""
    lag = f"; the decision follows {time(look.decision_lag)} later" if look.decision_lag else ""
    changes = f"; afterwards the trial may be adapted ({value(look.adaptations)})" if look.adaptations else ""
    return f"The look {name} is made {trigger_words(look.when, protocol)}{limit}{lag}{changes}."


def trigger_words(trigger: Trigger, protocol: Protocol) -> str:
    """`when 352 events of os have occurred, all arms pooled`."""
    if isinstance(trigger, EventsTrigger):
        endpoint = trigger.endpoint or next((name for name, item in protocol.endpoints.items() if item.is_event), "")
        return f"when {count(trigger.events, 'event')} of {endpoint} {'has' if trigger.events == 1 else 'have'} occurred, all arms pooled"
    if isinstance(trigger, CompletersTrigger):
        return f"when {count(trigger.completers, 'patient')} {'has' if trigger.completers == 1 else 'have'} reached {trigger.at_visit} under observation"
    if isinstance(trigger, EnrolledTrigger):
        return f"when {count(trigger.enrolled, 'patient')} {'has' if trigger.enrolled == 1 else 'have'} been randomised"
    if isinstance(trigger, CalendarTrigger):
        return f"{time(trigger.calendar)} after accrual opens"
    if isinstance(trigger, AfterLastPatientInTrigger):
        return f"{time(trigger.after_last_patient_in)} after the last planned patient is randomised"
    assert isinstance(trigger, AllTrigger | AnyTrigger)
    parts, word = (trigger.all, "the latest") if isinstance(trigger, AllTrigger) else (trigger.any, "the earliest")
    if len(parts) == 1:
        return trigger_words(parts[0], protocol)
    return f"at {word} of these: {listed(trigger_words(part, protocol) for part in parts)}"


def plan_of(protocol: Protocol, name: str) -> MonitoringPlan | None:
    """The bounds' arithmetic of an analysis, by the function the engine uses; None where the protocol says too little for one."""
    analysis = protocol.analyses[name]
    if analysis.estimand is None and analysis.endpoint is None:
        return None
    tests, reference = arms_of(protocol, analysis)
    endpoint, visit = endpoint_of(protocol, analysis)
    ratio = protocol.randomization.ratio if protocol.randomization and protocol.randomization.ratio else dict.fromkeys(protocol.arms, 1)
    share_of_test = ratio[tests[0]] / (ratio[tests[0]] + ratio[reference])
    looks = [protocol.looks[look] for look in analysis.looks or () if look in protocol.looks]
    return monitoring_plan(name, analysis, looks, endpoint=endpoint, is_event=visit is None, test_share=share_of_test)


def _monitoring(protocol: Protocol, name: str, analysis: AnyAnalysis) -> Iterator[list[str]]:
    """Its rules, then its bounds look by look: a paragraph each."""
    looks = [look for look in analysis.looks or () if look in protocol.looks]
    efficacy: Rule | None = analysis.efficacy
    futility: FutilityRule | None = analysis.futility
    try:
        plan = plan_of(protocol, name)
        bounds = None if plan is None else plan.at_plan if not plan.by_calendar else None
        alone = None if plan is None or len(looks) > 1 else plan.at_end_only()
    except NotSupportedError as error:
        yield [f"The analysis {name} is made at {listed(looks)}; its critical values cannot be computed yet ({listed(error.what)})." if looks else ""]
        return
    if len(looks) <= 1:
        when = f"once, at {looks[0]}" if looks else "once, where the trial ends"
        critical = "" if alone is None else f" The critical value of z is {fixed(alone, 4)}{' in absolute value' if analysis.sides == 2 else ''}."
        yield [f"The analysis {name} is made {when}, at its full alpha of {probability(analysis.alpha)}.{critical}"]
        return
    assert plan is not None
    unit = "events" if endpoint_of(protocol, analysis)[1] is None else "patients"
    rules = [
        f"The analysis {name} is made at {listed(looks)}; its information fractions are of {count(plan.planned)} planned {unit}.",
        _efficacy(efficacy, analysis),
    ]
    if futility is not None:
        rules.append(_futility(futility))
    if bounds is None:
        yield [*rules, "The information at a look is what has been observed then, so that the bounds are computed anew in every trial."]
        return
    yield [*rules, "z is positive when it favours the test arm" + ("." if analysis.sides == 1 else "; both directions count.")]
    yield [_bound(look, index, plan, bounds, futility, unit, analysis.sides) for index, look in enumerate(looks)]


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


def _bound(look: str, index: int, plan: MonitoringPlan, bounds: Bounds, futility: FutilityRule | None, unit: str, sides: int) -> str:
    fraction = plan.targets[index] / plan.planned
    z, low = float(bounds.efficacy_z[index]), float(bounds.futility_z[index])
    last = index == len(plan.targets) - 1
    where = f"At {look} ({count(plan.targets[index], unit[:-1])}, information fraction {fixed(fraction, 3)})"
    if math.isfinite(z):
        p = sides * float(ndtr(-z))
        said = [
            f"efficacy is declared when {'|z|' if sides == 2 else 'z'} is at least {fixed(z, 4)} ({'one' if sides == 1 else 'two'}-sided p at most {p:.5f}; alpha spent so far {bounds.cumulative_alpha[index]:.5f})"
        ]
    else:
        said = ["efficacy cannot be declared"]
    if isinstance(futility, HazardRatioAbove):
        limit = futility.hazard_ratio_above[index] if index < len(futility.hazard_ratio_above) else None
        if limit is not None:
            said.append(
                f"the trial stops for futility when the estimated hazard ratio exceeds {number(limit)}"
                + (f" (z below about {fixed(low, 4)})" if math.isfinite(low) else "")
            )
    elif futility is not None and math.isfinite(low) and not last:
        said.append(f"the trial stops for futility when z is below {fixed(low, 4)}")
    return f"{where} {listed(said)}."
