"""Columns that go with the arm: what a companion's levels within an arm add to an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.fitted.outcomes.newton import Array

LEVEL_SCALES = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5)  # of what a level adds to its arm
FEWEST = 5  # patients at a level within an arm, and at its others

Effects = Mapping[str, Mapping[str, tuple[float, ...]]]
"""What is added to a linear predictor, by companion, arm, and level."""


@dataclass(frozen=True, slots=True)
class Companions:
    """The level of every patient in each companion of the arm: `index` `[patient]`, −1 where missing; `sizes` are how many levels there are."""

    index: Mapping[str, NDArray[np.int64]]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LevelDesign:
    """Indicators of the levels of companions within an arm, each centred in its arm.

        z_i = [a(i) = a] · ([level of i = l] − share of l in a)

    `columns` is `[patient, indicator]`; a patient whose level is missing has 0, the arm's mean. All levels of an arm have
    one: what they add is told apart by the prior, which shrinks them alike towards the arm's mean. Since every indicator
    averages to 0 in its arm, the arm's own effect keeps its meaning. `places` are (companion, arm, level, share).

    Left out: levels with fewer than 5 patients in the arm, or all but 5, and indicators that repeat an earlier one.
    """

    columns: Array
    places: tuple[tuple[str, str, int, float], ...]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, companions: Companions | None, *, arms: tuple[str, ...], arm: NDArray[np.int64]) -> LevelDesign:
        """The design of every patient; of none where no companion divides an arm."""
        columns: list[Array] = []
        places: list[tuple[str, str, int, float]] = []
        given = companions or Companions({}, {})
        for name, index in given.index.items():
            for place, arm_name in enumerate(arms):
                known = (arm == place) & (index >= 0)
                for level in range(given.sizes[name]):
                    at = known & (index == level)
                    if not FEWEST <= at.sum() <= known.sum() - FEWEST:
                        continue
                    share = float(at.sum() / known.sum())
                    column = at - known * share
                    if not any(np.array_equal(column, other) for other in columns):
                        columns.append(column)
                        places.append((name, arm_name, level, share))
        matrix = np.stack(columns, axis=1) if columns else np.zeros((len(arm), 0))
        return cls(matrix, tuple(places), given.sizes)

    def effects(self, weights: Array) -> Effects:
        """What each level adds, Σ_k w_k ([k = level] − share_k), from the weights of the indicators; empty where all are 0."""
        found: dict[str, dict[str, Array]] = {}
        if not np.any(weights):
            return {}
        for (name, arm, level, share), weight in zip(self.places, weights.tolist(), strict=True):
            row = found.setdefault(name, {}).setdefault(arm, np.zeros(self.sizes[name]))
            row -= weight * share
            row[level] += weight
        return {name: {arm: tuple(row.tolist()) for arm, row in rows.items()} for name, rows in found.items()}


def effects_as_json(effects: Effects) -> list[list[object]]:
    """As JSON, in order."""
    return [[name, arm, list(row)] for name, rows in effects.items() for arm, row in rows.items()]


def effects_from_json(given: list[list[object]]) -> Effects:
    """What `effects_as_json` wrote."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for name, arm, row in given:
        assert isinstance(row, list)
        found.setdefault(str(name), {})[str(arm)] = tuple(row)
    return found
