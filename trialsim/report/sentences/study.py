"""What the trial is, and what it sets out to show."""

from __future__ import annotations

from trialsim.analysis import Analysis
from trialsim.report.sentences.passage import Passage
from trialsim.report.sentences.question import endpoint_and_visit
from trialsim.report.wording import article, capital, count, counted, listed, probability, quantity, time
from trialsim.spec.planning import arms_of
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.interventions import After, Arm

_BETTER = {"lower_is_better": "lower", "higher_is_better": "higher"}


def the_study(protocol: Protocol) -> Passage:
    """Name, phase, indication, size, arms, sources."""
    study, population = protocol.study, protocol.population
    opening = ""
    if study is not None:
        kind = f"{article('phase ' + study.phase)} trial" if study.phase else "a trial"
        title = f" ({study.title})" if study.title else ""
        opening = f"{study.id}{title} is {kind}" + (f" in {study.indication}" if study.indication else "") + "."
    size = f"{count(population.planned_enrollment, 'patient')} are to be randomised to {counted(len(protocol.arms), 'arm')}" if population else ""
    arms = listed(_arm(name, arm, protocol) for name, arm in protocol.arms.items())
    if size:
        size = f"{size}: {arms}." if arms else f"{size}."
    elif arms:
        size = f"The trial has {counted(len(protocol.arms), 'arm')}: {arms}."
    sources = f"Sources of the assumptions: {'; '.join(study.sources)}." if study is not None and study.sources else ""
    return Passage.of("The study", [opening, size], [sources])


def _arm(name: str, arm: Arm, protocol: Protocol) -> str:
    given = []
    for key in arm.interventions:
        intervention = protocol.interventions.get(key)
        role = f", {intervention.role}" if intervention else ""
        dose = f" {quantity(intervention.dose)}" if intervention and intervention.dose else ""
        said = f": {intervention.description}" if intervention and intervention.description else ""
        given.append(f"{key}{dose}{role}{said}")
    words = [(arm.type or "").replace("_", " "), *([quantity(arm.dose)] if arm.dose else []), *([arm.description] if arm.description else [])]
    words += _platform(arm)
    inside = "; ".join([word for word in words if word] + ([f"receives {listed(given)}"] if given else []))
    return f"{name} ({inside})" if inside else name


def _platform(arm: Arm) -> list[str]:
    """When an arm of a platform trial opens and closes, and whom it is compared with."""
    said = [f"{verb} {_moment(moment)}" for verb, moment in (("opens", arm.opens), ("closes", arm.closes)) if moment is not None]
    if arm.max_n is not None:
        said.append(f"at most {count(arm.max_n, 'patient')}")
    if arm.concurrent_control_only:
        said.append("compared with concurrent controls only")
    return said


def _moment(moment: float | str | After) -> str:
    if isinstance(moment, str):
        return f"at {moment}"
    return f"after {moment.after.drop_of} is dropped" if isinstance(moment, After) else f"{time(moment)} after accrual opens"


def what_is_tested(protocol: Protocol) -> Passage:
    """The null hypothesis of every analysis, primary endpoints first."""
    ranked = sorted(protocol.analyses.items(), key=lambda item: _rank(protocol, item[1]))
    return Passage.of("What is tested", [_hypothesis(protocol, name, analysis) for name, analysis in ranked])


def _rank(protocol: Protocol, analysis: Analysis) -> int:
    about = endpoint_and_visit(protocol, analysis)
    if about is None:
        return 1
    level = protocol.endpoints[about[0]].level
    return ("primary", "secondary", "exploratory").index(level)


def _hypothesis(protocol: Protocol, name: str, analysis: Analysis) -> str:
    tests, reference = arms_of(protocol, analysis)
    sides = "one-sided" if analysis.tested_sides == 1 else "two-sided"
    level = f"at a {sides} level of {probability(analysis.alpha_one_sided * analysis.tested_sides)}"
    about = endpoint_and_visit(protocol, analysis)
    if about is None:
        return f"The analysis {name} compares {listed(tests)} with {reference} {level}."
    key, visit = about
    endpoint = protocol.endpoints[key]
    at = f" at {visit}" if visit else ""
    who = f"{listed(tests, 'or')}" if len(tests) > 1 else tests[0]
    goal = {
        "superiority": f"is superior to {reference}" if analysis.sides == 1 else f"differs from {reference}",
        "non_inferiority": f"is not inferior to {reference}, with margin {analysis.margin}",
        "equivalence": f"is equivalent to {reference}, with margin {analysis.margin}",
    }[analysis.type]
    if endpoint.is_event:
        good = "fewer or later events are better" if endpoint.direction == "lower_is_better" else "more or earlier events are better"
    else:
        good = f"{_BETTER[endpoint.direction]} values are better"
    return capital(f"on the {endpoint.level} endpoint {key}{at}, the analysis {name} tests {level} whether {who} {goal} ({good}).")
