"""What an analysis is about: its endpoint, the visit, its arms."""

from __future__ import annotations

from trialsim.analysis import Analysis
from trialsim.spec.protocol import Protocol


def endpoint_and_visit(protocol: Protocol, analysis: Analysis) -> tuple[str, str | None] | None:
    """The endpoint, and the visit where the endpoint has one (the last, where none is named); None where no endpoint is named."""
    if analysis.estimand is not None:
        estimand = protocol.estimands[analysis.estimand]
        name, visit = estimand.endpoint, estimand.visit
    elif analysis.endpoint is not None:
        name, visit = analysis.endpoint, None
    else:
        return None
    endpoint = protocol.endpoints[name]
    if visit is None and not endpoint.is_event and endpoint.at:
        visit = max(endpoint.at, key=lambda at: protocol.visits[at].at or 0.0)
    return name, visit


def counts_events(protocol: Protocol, analysis: Analysis) -> bool:
    """Whether information is counted in events; else in patients."""
    found = endpoint_and_visit(protocol, analysis)
    return found is not None and protocol.endpoints[found[0]].is_event
