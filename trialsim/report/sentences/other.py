"""Costs, and rules of phase I."""

from __future__ import annotations

from trialsim.report.sentences.passage import Passage, options
from trialsim.report.wording import count, listed, quantity, share
from trialsim.spec.protocol import Protocol


def costs(protocol: Protocol) -> Passage:
    """What the trial costs."""
    part = protocol.costs
    if part is None:
        return Passage.of("Costs")
    units = {"per_patient": "per patient", "per_visit": "per visit", "per_site_month": "per site and month", "per_look": "per look", "fixed": "once"}
    said = [f"{quantity(amount)} {words}" for key, words in units.items() if (amount := getattr(part, key)) is not None]
    reported = f", reported in {part.currency}" if part.currency else ""
    return Passage.of("Costs", [f"The trial costs {listed(said)}{reported}."] if said else [])


def dose_escalation(protocol: Protocol) -> Passage:
    """How the next dose is chosen."""
    rule = protocol.dose_escalation
    if rule is None:
        return Passage.of("Dose escalation")
    method = {"three_plus_three": "the 3 + 3 rule", "boin": "BOIN", "crm": "the continual reassessment method", "mcp_mod": "MCP-Mod"}[rule.method]
    target = f", for a target probability of toxicity of {share(rule.target)}" if rule.target is not None else ""
    rest = options(rule, skip=("method", "target", "cohort_size"))
    return Passage.of(
        "Dose escalation",
        [f"Doses are escalated by {method} in cohorts of {count(rule.cohort_size, 'patient')}{target}.", f"Further: {listed(rest)}." if rest else ""],
    )
