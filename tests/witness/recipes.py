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
class FittedNormal:
    """An honest model that is estimated: one normal law of all columns (63 parameters with `MODELLED`), codes rounded to levels."""

    def fit(self, table: PatientTable) -> Sampler:
        rows = np.stack([table.columns[name] for name in MODELLED], axis=1)
        return Drawn(table, ROLES, MODELLED, rows.mean(0), np.linalg.cholesky(np.cov(rows.T) + 1e-9 * np.eye(len(MODELLED))))


@dataclass(frozen=True)
class Drawn(Bootstrap):
    mean: np.ndarray
    root: np.ndarray

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        rows = self.mean + np.random.default_rng(seed).standard_normal((n, len(self.mean))) @ self.root.T
        columns = {}
        for name, values in zip(MODELLED, rows.T, strict=True):
            top = len(self.table.levels[name]) - 1 if name in self.table.levels else 1 if self.table.meaning[name].type == "binary" else None
            columns[name] = values if top is None else np.clip(np.round(values), 0, top)
        return replace(self.table.take(np.zeros(n, dtype=np.int64)), columns=columns)


@dataclass(frozen=True)
class Failing:
    """Cannot be fitted."""

    def fit(self, table: PatientTable) -> Sampler:
        raise DataError(Problem('the column "age" is broken', file="made.csv", line=7))
