"""One refit: a model of each random half, a synthetic table of each, and what they tell of the real patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.attacks import neighbour_features, tracing_ratio
from trialsim.cohort.disclosure.closeness import continuous, count_copies, distances, emitted_unique
from trialsim.cohort.disclosure.halves import arm_strata, random_half, seed_of, stream
from trialsim.cohort.disclosure.inference import guessed, linked
from trialsim.cohort.disclosure.singling_out import cells, multivariate, univariate
from trialsim.cohort.disclosure.space import Array, Space, is_category
from trialsim.cohort.sampler import Recipe
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem

Flags = NDArray[np.bool_]
Hits = tuple[Flags, Flags]

ATTACKS = 1000  # multivariate predicates a half


@dataclass(frozen=True, slots=True)
class Refit:
    """What refit `index` found, for each patient of the table and for its two halves, members' first.

    `features` are `neighbour_features`, `tracing` the `tracing_ratio`. `copies` are counts (of rows fitted to, of
    others), `unique` the same by column. `hits` are successes of further attacks (on patients fitted to, on others),
    in the first refit only.
    """

    member: Flags
    features: Array
    tracing: Array
    copies: tuple[int, int]
    distances: tuple[Mapping[str, float], ...]
    unique: Mapping[str, tuple[int, int]]
    hits: Mapping[str, Hits]
    modelled: tuple[str, ...]
    n_synthetic: int


def refit(recipe: Recipe, table: PatientTable, *, index: int, seed: int, n_synthetic: int | None) -> Refit:
    """Splits, fits twice, samples twice, attacks. A pure function of its arguments in a process with one thread."""
    member = random_half(arm_strata(table), stream(seed, f"half/{index}"))
    halves = [table.take(np.flatnonzero(half)) for half in (member, ~member)]
    samplers = [recipe.fit(half) for half in halves]
    names = tuple(name for name in samplers[0].modelled if name in samplers[1].modelled)
    sizes = [half.n if n_synthetic is None else n_synthetic for half in halves]
    made = [sampler.synthesise(size, seed=seed_of(seed, f"sample/{index}/{side}")) for side, (sampler, size) in enumerate(zip(samplers, sizes, strict=True))]
    space = Space.of(table, names)
    if not space.names:
        raise DataError(Problem("no modelled column has two different values", file=table.file))
    real, synthetic = space.place(table), [space.place(each) for each in made]
    own, others = [real.take(member), real.take(~member)], [real.take(~member), real.take(member)]
    emitted = [{name: emitted_unique(each, table, half, name) for name in continuous(table, names)} for each, half in zip(made, (member, ~member), strict=True)]
    return Refit(
        member=member,
        features=neighbour_features(real, *synthetic),
        tracing=tracing_ratio(real, *synthetic),
        copies=tuple(  # type: ignore[arg-type]
            sum(count_copies(each, halves[side if same else 1 - side], names) for side, each in enumerate(made)) for same in (True, False)
        ),
        distances=tuple(distances(each, train, holdout) for each, train, holdout in zip(synthetic, own, others, strict=True)),
        unique={name: tuple(sum(each[name][side] for each in emitted) for side in (0, 1)) for name in emitted[0]},  # type: ignore[misc]
        hits=_further(table, member, made, space, seed=seed) if index == 0 else {},
        modelled=names,
        n_synthetic=max(sizes),
    )


def _further(table: PatientTable, member: Flags, made: list[PatientTable], space: Space, *, seed: int) -> dict[str, Hits]:
    """Singling out, linkability and attribute inference against both halves' models, pooled."""
    parts: dict[str, list[Hits]] = {}
    real = space.place(table)
    category = np.array([is_category(table, name) for name in space.names])
    all_cells = cells(table, space.names, table)
    for side, (each, train) in enumerate(zip(made, (member, ~member), strict=True)):
        synthetic, theirs = space.place(each), cells(each, space.names, table)
        ours, control = all_cells[train], all_cells[~train]
        parts.setdefault("singling_out/univariate", []).append(univariate(theirs, ours, control))
        found = multivariate(theirs, ours, control, category=category, attacks=ATTACKS, generator=stream(seed, f"predicates/{side}"))
        parts.setdefault("singling_out/multivariate", []).append(found)
        link = linked(real, synthetic, space, generator=stream(seed, f"files/{side}"))
        parts.setdefault("linkability", []).append((link[train], link[~train]))
        for place, name in enumerate(space.names):
            hit = tuple(
                guessed(real.take(half), synthetic, space, name, cells=all_cells[half, place], guesses=theirs[:, place], category=bool(category[place]))
                for half in (train, ~train)
            )
            parts.setdefault(f"attribute_inference/{name}", []).append(hit)  # type: ignore[arg-type]
    return {key: (np.concatenate([one for one, _ in found]), np.concatenate([two for _, two in found])) for key, found in parts.items()}
