"""What is measured, and when."""

from __future__ import annotations

from trialsim.report.sentences.passage import Passage
from trialsim.report.wording import listed, time
from trialsim.spec.protocol import Protocol
from trialsim.spec.sections.endpoints import Endpoint
from trialsim.spec.sections.visits import Visit


def the_endpoints(protocol: Protocol) -> Passage:
    """Endpoints with their definition, then the visits."""
    visits = ""
    if protocol.visits:
        visits = f"Patients are seen at {listed(_visit(name, visit) for name, visit in protocol.visits.items())}."
    return Passage.of(
        "Endpoints", [f"{name} is the {endpoint.level} endpoint: {definition(name, endpoint)}." for name, endpoint in _levels(protocol)], [visits]
    )


def _levels(protocol: Protocol) -> list[tuple[str, Endpoint]]:
    return list(protocol.endpoints.items())


def definition(name: str, endpoint: Endpoint) -> str:
    """`the time from randomisation to death`."""
    first = f"the first of {listed(endpoint.components, 'or')}" if len(endpoint.components) > 1 else (endpoint.components[0] if endpoint.components else name)
    if endpoint.is_event:
        words = f"the time from randomisation to {first}"
    else:
        kind = {"binary": "binary value", "count": "count", "ordinal": "ordinal value"}.get(endpoint.type, "value")
        words = f"the change of {first} from {endpoint.change_from}" if endpoint.change_from else f"the {kind} of {first}"
    if endpoint.at:
        words += f", measured at {listed(endpoint.at)}"
    good = {("lower_is_better", True): "fewer or later events are better", ("higher_is_better", True): "more or earlier events are better"}.get(
        (endpoint.direction, endpoint.is_event), f"{endpoint.direction.split('_')[0]} values are better"
    )
    lag = f"; its result is known {time(endpoint.lag)} after the measurement" if endpoint.lag else ""
    return f"{words}; {good}{lag}"


def _visit(name: str, visit: Visit) -> str:
    if visit.every is not None:
        when = f"every {time(visit.every)}"
    elif not visit.at:
        when = "randomisation"
    else:
        when = f"{time(abs(visit.at))} {'after' if visit.at > 0 else 'before'} randomisation"
    window = f" ± {time(visit.window)}" if visit.window else ""
    return f"{name} ({when}{window})"
