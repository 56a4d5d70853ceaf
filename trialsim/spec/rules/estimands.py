"""Estimands name arms, endpoints, visits, events and covariates."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.analysis import Treatment
from trialsim.errors import did_you_mean
from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol

SUMMARISED: dict[str, tuple[str, ...]] = {
    "difference_in_proportions": ("binary",),
    "risk_ratio": ("binary",),
    "odds_ratio": ("binary", "ordinal"),
    "rate_ratio": ("count", "time_to_event"),
}
"""Summary measure -> the endpoints that have it; those not named have rules of their own, or none."""


def check_treatment(treatment: Treatment, path: Path, names: Names) -> Iterator[Found]:
    """Arms of a comparison."""
    single = isinstance(treatment.test, str)
    for index, arm in enumerate(treatment.tests):
        if arm not in names.arms:
            yield Found((*path, "test") if single else (*path, "test", index), is_not(arm, "an arm", names.arms, "arms"))
    if treatment.reference not in names.arms:
        yield Found((*path, "reference"), is_not(treatment.reference, "an arm", names.arms, "arms"))


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    for name, estimand in protocol.estimands.items():
        path = ("estimands", name)
        yield from check_treatment(estimand.treatment, (*path, "treatment"), names)
        variable = (*path, "variable") if isinstance(estimand.variable, str) else (*path, "variable", "endpoint")
        endpoint = protocol.endpoints.get(estimand.endpoint)
        if estimand.endpoint not in names.endpoints:
            yield Found(variable, is_not(estimand.endpoint, "an endpoint", names.endpoints, "endpoints"))
        if endpoint is not None and endpoint.type not in SUMMARISED.get(estimand.summary_measure, (endpoint.type,)):
            needs = " or ".join(SUMMARISED[estimand.summary_measure])
            yield Found((*path, "summary_measure"), f'{estimand.summary_measure} summarises a {needs} endpoint; "{estimand.endpoint}" is {endpoint.type}')
        if estimand.visit is not None:
            if estimand.visit not in names.visits:
                yield Found((*path, "variable", "at"), is_not(estimand.visit, "a visit", names.visits, "visits"))
            elif endpoint is not None and estimand.visit not in endpoint.at:
                where = f"; it is measured at {', '.join(endpoint.at)}" if endpoint.at else "; it is not measured at visits"
                yield Found((*path, "variable", "at"), f'endpoint "{estimand.endpoint}" is not measured at "{estimand.visit}"{where}')
        if endpoint is not None:
            if (estimand.summary_measure in ("hazard_ratio", "rmst_difference", "milestone_difference")) and not endpoint.is_event:
                yield Found((*path, "summary_measure"), f'{estimand.summary_measure} needs an event time; endpoint "{estimand.endpoint}" is {endpoint.type}')
            if estimand.summary_measure == "difference_in_means" and endpoint.type not in ("continuous", "count", "ordinal"):
                yield Found((*path, "summary_measure"), f'difference_in_means needs a value; endpoint "{estimand.endpoint}" is {endpoint.type}')
        modelled = (*names.intercurrent_events, *names.outcomes)
        for event, treated in estimand.intercurrent_events.items():
            if names.has_truth and treated.strategy != "treatment_policy" and event not in modelled:
                options = did_you_mean(event, modelled) if modelled else ""
                message = (
                    f'"{event}" is neither in truth.intercurrent_events nor an outcome; only treatment_policy may name an event that is not modelled{options}'
                )
                yield Found((*path, "intercurrent_events", event), message, on_key=True)
        if estimand.population != "all_randomized" and names.covariates is not None:
            for criterion_id, criterion in estimand.population.items():
                if criterion.covariate not in names.covariates:
                    place = (*path, "population", criterion_id, "covariate")
                    yield Found(place, is_not(criterion.covariate, "a covariate", names.covariates, "covariates"))
