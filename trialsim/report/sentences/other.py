"""Costs, and rules of phase I."""

from __future__ import annotations

from trialsim.report.sentences.passage import Passage, options
from trialsim.report.wording import count, listed, share
from trialsim.spec.protocol import Protocol


def costs(protocol: Protocol) -> Passage:
    """What the trial costs."""
    said = options(protocol.costs) if protocol.costs else []
    return Passage.of("Costs", [f"Costs are {listed(said)}."] if said else [])


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
