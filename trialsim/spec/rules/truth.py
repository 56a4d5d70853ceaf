"""The truth names arms, outcomes, visits and covariates; fitted outcomes need a cohort to be fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trialsim.cohort import DataSource
from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found, Path
from trialsim.spec.protocol import Protocol
from trialsim.twins.problems import problems


def split(dotted: str, value: Any) -> Path:
    """The path behind dotted words; ids may hold dots, so they are matched against the ids there are."""
    if not dotted:
        return ()
    if isinstance(value, Mapping):
        found = [key for key in value if dotted == key or dotted.startswith(f"{key}.")]
        if found:
            key = max(found, key=len)
            return (key, *split(dotted[len(key) + 1 :], value[key]))
    head, _, rest = dotted.partition(".")
    return (head, *split(rest, None))


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    truth = protocol.truth
    if truth is None:
        return
    found = problems(truth, arms=names.arms, visits=dict.fromkeys(names.visits, 0.0), covariates=names.covariates or (), levels=names.levels, units=names.units)
    written = {"truth": truth.model_dump(by_alias=True)}
    for problem in found:
        path = split(problem.path, written)
        # What a covariate of a data source measures only a run knows.
        unknowable = (names.has_source or names.covariates is None) and ("prognostic" in path or "by" in path)
        if not unknowable and not _is_dangling_because_invalid(path, names):
            yield Found(path, problem.message, on_key=_names_something(path))
    if names.has_source and names.covariates is not None:
        for name, process in truth.outcomes.items():
            for covariate in process.prognostic:
                if covariate not in names.covariates:
                    path = ("truth", "outcomes", name, "prognostic", covariate)
                    yield Found(path, is_not(covariate, "a covariate", names.covariates, "covariates"), on_key=True)
    source = protocol.population.source if protocol.population is not None else None
    for name, process in truth.outcomes.items():
        key = "dist" if hasattr(process, "dist") else "model"
        if getattr(process, key, None) != "fitted":
            continue
        if not names.has_source:
            yield Found(("truth", "outcomes", name, key), "a fitted outcome needs population.source, the cohort it is fitted to")
        elif isinstance(source, DataSource) and name not in source.outcomes:
            yield Found(("truth", "outcomes", name), is_not(name, "an outcome of population.source", source.outcomes, "outcomes there"), on_key=True)
    yield from _source(protocol, names)
    for name, event in truth.intercurrent_events.items():
        for outcome in event.effect:
            if outcome not in names.outcomes:
                yield Found(("truth", "intercurrent_events", name, "effect", outcome), is_not(outcome, "an outcome", names.outcomes, "outcomes"), on_key=True)
    for name, missing in truth.missing_data.items():
        known = (*(names.covariates or ()), "previous_value", "current_value")
        if missing.depends_on is not None and names.covariates is not None and missing.depends_on not in known:
            yield Found(("truth", "missing_data", name, "depends_on"), is_not(missing.depends_on, "a covariate, previous_value or current_value", known, ""))


def _names_something(path: Path) -> bool:
    """Whether the last step of a path is an id that was chosen by the author, so that the error is about the key."""
    return path[1:2] != ("outcomes",) or (len(path) == 5 and path[3] == "prognostic")


def _is_dangling_because_invalid(path: Path, names: Names) -> bool:
    """An outcome that is declared but invalid is not unknown."""
    return (path[1:2] == ("effects",) and len(path) == 4 and path[3] in names.outcomes) or (
        path[1:2] == ("missing_data",) and len(path) == 3 and path[2] in names.outcomes
    )


def _source(protocol: Protocol, names: Names) -> Iterator[Found]:
    source = protocol.population.source if protocol.population is not None else None
    if protocol.population is not None and names.has_source and names.covariates is not None:
        for key, criterion in protocol.population.eligibility.items():
            if criterion.covariate not in names.covariates:
                path = ("population", "eligibility", key, "covariate")
                yield Found(path, is_not(criterion.covariate, "a covariate", names.covariates, "covariates"))
    if not isinstance(source, DataSource):
        return
    for arm in source.arms:
        if arm not in names.arms:
            yield Found(("population", "source", "arms", arm), is_not(arm, "an arm", names.arms, "arms"), on_key=True)
    for outcome, columns in source.outcomes.items():
        for visit in getattr(columns, "columns", {}):
            if visit not in names.visits:
                place = ("population", "source", "outcomes", outcome, "columns", visit)
                yield Found(place, is_not(visit, "a visit", names.visits, "visits"), on_key=True)
