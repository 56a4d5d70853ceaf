"""What the trial wants to know, in the five attributes of ICH E9(R1)."""

from __future__ import annotations

from trialsim.report.sentences.endpoints import definition
from trialsim.report.sentences.passage import Passage
from trialsim.report.sentences.population import criterion_words
from trialsim.report.wording import listed, value
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.estimands import Estimand, IntercurrentEventStrategy

_SUMMARIES = {
    "hazard_ratio": "the hazard ratio",
    "difference_in_means": "the difference in means",
    "difference_in_proportions": "the difference in proportions",
    "odds_ratio": "the odds ratio",
    "risk_ratio": "the risk ratio",
    "rate_ratio": "the rate ratio",
    "rmst_difference": "the difference in restricted mean survival time",
    "milestone_difference": "the difference in survival at a milestone",
    "win_ratio": "the win ratio",
    "net_benefit": "the net benefit",
}


def the_estimands(protocol: Protocol) -> Passage:
    """One paragraph for each estimand."""
    return Passage.of("Estimands", *[_estimand(name, estimand, protocol) for name, estimand in protocol.estimands.items()])


def _estimand(name: str, estimand: Estimand, protocol: Protocol) -> list[str]:
    if isinstance(estimand.population, str):
        who = "all randomised patients"
    else:
        who = "patients in whom " + listed(("not " if item.category == "exclusion" else "") + criterion_words(item) for item in estimand.population.values())
    answered = [key for key, analysis in protocol.analyses.items() if analysis.estimand == name]
    by = f", answered by {'the analysis' if len(answered) == 1 else 'the analyses'} {listed(answered)}," if answered else ""
    test = listed(estimand.treatment.tests)
    endpoint = protocol.endpoints[estimand.endpoint]
    visit = f" at {estimand.visit}" if estimand.visit else ""
    each = ", each against" if len(estimand.treatment.tests) > 1 else " against"
    said = [
        f"The estimand {name}{by} is defined by the five attributes of ICH E9(R1).",
        f"Population: {who}.",
        f"Treatment: assignment to {test}, compared with assignment to {estimand.treatment.reference}.",
        f"Variable: {estimand.endpoint}{visit}, {definition(estimand.endpoint, endpoint).split(';')[0]}.",
    ]
    if estimand.intercurrent_events:
        said.append("Intercurrent events:")
        rules = [f"{event}, by the {_strategy(event, rule, protocol)}" for event, rule in estimand.intercurrent_events.items()]
        said[-1] += f" {'; '.join(rules)}."
    else:
        said.append("Intercurrent events: none are named.")
    return [*said, f"Population-level summary: {_SUMMARIES[estimand.summary_measure]} of {test}{each} {estimand.treatment.reference}."]


def _strategy(event: str, rule: IntercurrentEventStrategy, protocol: Protocol) -> str:
    worth = f", with the value {value(rule.value).replace('_', ' ')}" if rule.value is not None else ""
    words = {
        "treatment_policy": "treatment policy strategy (the variable is used whether or not the event occurs)",
        "hypothetical": "hypothetical strategy (the variable is the one that would be seen if the event did not occur)",
        "composite": f"composite strategy (the event is part of the variable{worth})",
        "while_on_treatment": "while-on-treatment strategy (the variable is taken up to the event)",
        "principal_stratum": "principal stratum strategy (the population is restricted to the stratum that the event defines)",
    }[rule.strategy]
    truth = protocol.truth
    modelled = truth is not None and (event in truth.intercurrent_events or any(event in process.targets(key) for key, process in truth.outcomes.items()))
    return words if modelled else f"{words}, without such an event in the simulation"
