"""Recipes that memorise more or less, on patients of the known law in `witness.samplers`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from witness.samplers import MODELLED, ROLES, Bootstrap, Truth

from trialsim.cohort.sampler import Sampler
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem


@dataclass(frozen=True)
class Honest:
    """Reads nobody: the true law."""

    missing: float = 0.0

    def fit(self, table: PatientTable) -> Sampler:
        return Truth(missing=self.missing)


@dataclass(frozen=True)
class Memorising:
    """Rows of the data, drawn with replacement; `jitter` moves every number by that many SDs; `fresh` is the share of rows of the true law."""

    jitter: float = 0.0
    fresh: float = 0.0

    def fit(self, table: PatientTable) -> Sampler:
        return Remembered(table, ROLES, MODELLED, self.jitter, self.fresh)


@dataclass(frozen=True)
class Remembered(Bootstrap):
    jitter: float = 0.0
    fresh: float = 0.0

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        rng = np.random.default_rng(seed)
        drawn, new = super().synthesise(n, seed=seed + 1), Truth().synthesise(n, seed=seed + 2)
        other = rng.random(n) < self.fresh
        columns = {}
        for name, values in drawn.columns.items():
            moved = values
            if name not in drawn.levels and drawn.meaning[name].type != "binary":
                moved = values + self.jitter * np.nanstd(self.table.columns[name]) * rng.standard_normal(n)
            columns[name] = np.where(other, new.columns[name], moved)
        return replace(drawn, columns=columns)


@dataclass(frozen=True)
class Failing:
    """Cannot be fitted."""

    def fit(self, table: PatientTable) -> Sampler:
        raise DataError(Problem('the column "age" is broken', file="made.csv", line=7))
