"""What a run needs beyond a valid protocol."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.spec.looks import endpoint_name, final_target
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.endpoints import Endpoint
from trialsim.twins.events import Recurrent
from trialsim.twins.values import NegativeBinomial

SECTIONS = ("study", "population", "arms", "truth", "endpoints", "analyses", "accrual", "randomization")


def counts_over_time(protocol: Protocol, endpoint: Endpoint) -> bool:
    """Whether it is a count of events that come over time, which may go on to the end of follow-up."""
    process = protocol.truth.outcomes.get(endpoint.outcome or "") if protocol.truth is not None else None
    return endpoint.type == "count" and (isinstance(process, Recurrent) or (isinstance(process, NegativeBinomial) and process.over_time))


def missing_to_run(protocol: Protocol) -> Iterator[Found]:
    """Sections and entries a simulation cannot do without."""
    missing = [section for section in SECTIONS if not getattr(protocol, section)]
    yield from (Found((section,), "missing; a run needs it") for section in missing)
    if protocol.simulation.seed is None:
        yield Found(("simulation", "seed"), "missing; a run needs it (or --seed)")
    if len(protocol.arms) == 1:
        yield Found(("arms",), "a run compares at least two arms", on_key=True)
    if protocol.interims is not None:
        key = "at_visit" if final_target(protocol, protocol.interims) is not None else "final"
        what = "the visit that completers have reached" if key == "at_visit" else "the target of the final look"
        yield Found(("interims", "timing", key), f"missing; a run needs {what}")
    for name, endpoint in protocol.endpoints.items():
        if not endpoint.is_event and not endpoint.at and not counts_over_time(protocol, endpoint):
            yield Found(("endpoints", name, "at"), "missing; a run needs the visits at which it is measured")
    if not protocol.looks and protocol.interims is None:
        for name, analysis in protocol.analyses.items():
            analysed = protocol.endpoints.get(endpoint_name(protocol, analysis) or "")
            if analysed is not None and analysed.is_event:
                message = "a time-to-event analysis needs interims.timing or looks, which say when the data are cut"
                yield Found(("analyses", name), message, on_key=True)
