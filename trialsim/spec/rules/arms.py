"""Arms name interventions; platform arms name looks and other arms."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.interventions import After


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    for name, arm in protocol.arms.items():
        for index, intervention in enumerate(arm.interventions):
            if intervention not in names.interventions:
                yield Found(("arms", name, "interventions", index), is_not(intervention, "an intervention", names.interventions, "interventions"))
        for key, moment in (("opens", arm.opens), ("closes", arm.closes)):
            if isinstance(moment, After) and moment.after.drop_of not in names.arms:
                yield Found(("arms", name, key, "after", "drop_of"), is_not(moment.after.drop_of, "an arm", names.arms, "arms"))
            elif isinstance(moment, str) and names.looks and moment not in names.looks:
                yield Found(("arms", name, key), is_not(moment, "a look", names.looks, "looks"))
    escalation = protocol.dose_escalation
    if escalation is not None:
        if escalation.start is not None and escalation.start not in names.arms:
            yield Found(("dose_escalation", "start"), is_not(escalation.start, "an arm", names.arms, "arms"))
        for index, arm_name in enumerate(escalation.order):
            if arm_name not in names.arms:
                yield Found(("dose_escalation", "order", index), is_not(arm_name, "an arm", names.arms, "arms"))
