"""What a valid protocol also has to be: rules that look at more than one part, one file per subject.

Each rule is `check(protocol, names) -> what is wrong`. `RULES` is the registry.
"""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.spec.names import Names
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol
from trialsim.spec.rules import analyses, arms, endpoints, estimands, interims, looks, multiplicity, randomization, simulation, truth

RULES = (
    arms.check,
    endpoints.check,
    estimands.check,
    truth.check,
    randomization.check,
    analyses.check,
    multiplicity.check,
    interims.check,
    looks.check,
    simulation.check,
)


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    """Everything the rules find."""
    for rule in RULES:
        yield from rule(protocol, names)
