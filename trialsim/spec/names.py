"""The ids a protocol declares, read from the data as written.

Rules look ids up here and not in the typed protocol, so that an entry that is itself invalid is not also reported as
missing wherever it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from trialsim.cohort import DataSource, Population
from trialsim.data import Card, load_card
from trialsim.errors import DataError, did_you_mean
from trialsim.spec.protocol import Protocol

TWIN_PROGNOSIS = "twin_prognosis"


def _keys(data: Any, *path: str) -> tuple[str, ...]:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return tuple(data) if isinstance(data, dict) else ()


@dataclass(frozen=True)
class Names:
    """Ids by section. `covariates` is None where only the data file knows them."""

    arms: tuple[str, ...] = ()
    interventions: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    estimands: tuple[str, ...] = ()
    analyses: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    intercurrent_events: tuple[str, ...] = ()
    covariates: tuple[str, ...] | None = None
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    has_truth: bool = False
    has_source: bool = False

    @classmethod
    def of(cls, data: Any, protocol: Protocol, directory: Path | None = None) -> Names:
        """The ids of `data`; what an outcome yields and what a covariate measures come from the typed protocol.

        `directory` is the protocol's folder: where a data source has a card that can be read, its covariates are known.
        """
        population, truth = protocol.population, protocol.truth
        laws = population.covariates if population is not None else {}
        source = isinstance(data.get("population"), dict) and data["population"].get("source") is not None
        targets = [target for name, process in (truth.outcomes if truth is not None else {}).items() for target in process.targets(name)]
        return cls(
            arms=_keys(data, "arms"),
            interventions=_keys(data, "interventions"),
            visits=_keys(data, "visits"),
            outcomes=tuple(dict.fromkeys((*_keys(data, "truth", "outcomes"), *targets))),
            endpoints=_keys(data, "endpoints"),
            estimands=_keys(data, "estimands"),
            analyses=_keys(data, "analyses"),
            looks=_keys(data, "looks"),
            intercurrent_events=_keys(data, "truth", "intercurrent_events"),
            covariates=card_covariates(population, directory) if source else _keys(data, "population", "covariates") or (() if "truth" in data else None),
            levels={name: law.levels for name, law in laws.items() if law.levels},
            units={name: law.dimension for name, law in laws.items()},
            has_truth=isinstance(data.get("truth"), dict),
            has_source=source,
        )


def card_covariates(population: Population | None, directory: Path | None) -> tuple[str, ...] | None:
    """The covariates of a data source by its card; None where there is none, or it cannot be read (a run says so)."""
    source = population.source if population is not None else None
    if not isinstance(source, DataSource) or source.card is None or directory is None:
        return None
    try:
        card = _card(directory / source.card, (directory / source.card).stat().st_mtime_ns)
    except (DataError, OSError):
        return None
    measured = {column for outcome in source.outcomes.values() for visit, column in getattr(outcome, "columns", {}).items() if visit != "baseline"}
    return tuple(name for name, column in card.columns.items() if column.role == "covariate" and name not in measured and name != source.arm) or None


@lru_cache(maxsize=8)
def _card(path: Path, changed: int) -> Card:
    """A card, read once for all cells."""
    return load_card(path)


def is_not(word: str, what: str, known: Iterable[str], section: str) -> str:
    """`"contrl" is not an arm; did you mean "control"?`"""
    options = tuple(known)
    return f'"{word}" is not {what}' + (did_you_mean(word, options) if options else f"; the protocol has no {section}")
