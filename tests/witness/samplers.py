"""Small samplers with known behaviour: rows of the data drawn again, columns drawn apart, a law that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trialsim.cohort.sampler import OutcomeRoles
from trialsim.data import Card, Column, PatientTable


def table_of(columns: Mapping[str, np.ndarray], types: Mapping[str, str] | None = None, levels: Mapping[str, tuple[str, ...]] | None = None) -> PatientTable:
    """A table of numbers, or of places in `levels`; the type is binary where the values are 0 and 1."""
    types, levels = types or {}, levels or {}
    meaning = {}
    for name, values in columns.items():
        binary = set(np.unique(values[~np.isnan(values)])) <= {0.0, 1.0}
        kind = types.get(name, "categorical" if name in levels else "binary" if binary else "continuous")
        meaning[name] = Column(type=kind, levels=levels.get(name, ()))
    n = len(next(iter(columns.values())))
    card = Card(id="made", title="made up", source="tests", licence="none needed", purposes=("simulate",))
    return PatientTable(
        columns={name: np.asarray(values, dtype=np.float64) for name, values in columns.items()},
        text={},
        levels=dict(levels),
        meaning=meaning,
        n=n,
        file="made.csv",
        sha256="0" * 64,
        card=card,
        path=Path("made.csv"),
        rows=np.arange(n),
    )


@dataclass(frozen=True)
class Bootstrap:
    """Rows of the data drawn with replacement: every distribution is right and every patient is told."""

    table: PatientTable
    roles: OutcomeRoles
    modelled: tuple[str, ...]

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        return self.table.take(np.random.default_rng(seed).integers(0, self.table.n, n))


@dataclass(frozen=True)
class Independent(Bootstrap):
    """Each column drawn by itself: right margins, no dependence, no effect."""

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        rng = np.random.default_rng(seed)
        drawn = super().synthesise(n, seed=seed)
        return replace(drawn, columns={name: values[rng.integers(0, self.table.n, n)] for name, values in self.table.columns.items()})


def trial(n: int, *, seed: int, log_hr: float = -0.4, missing: float = 0.0) -> PatientTable:
    """Patients of a known law: x normal, sex, site of three levels, `high` = x > 0.5; event times and a value that hang on them."""
    rng = np.random.default_rng(seed)
    x, sex, arm = rng.standard_normal(n), (rng.random(n) < 0.4).astype(float), (rng.random(n) < 0.5).astype(float)
    site = rng.choice(3, n, p=(0.5, 0.3, 0.2)).astype(float)
    age = 50 + 8 * (0.6 * x + 0.8 * rng.standard_normal(n))
    hazard = 0.02 * np.exp(0.5 * x + 0.3 * sex + log_hr * arm)
    time, censored = rng.exponential(1 / hazard), rng.uniform(20, 80, n)
    value = 10 + 2 * x + 1.5 * arm + rng.standard_normal(n)
    value[rng.random(n) < missing] = np.nan
    columns = {
        "x": x,
        "age": age,
        "sex": sex,
        "site": site,
        "high": (x > 0.5).astype(float),
        "arm": arm,
        "time": np.minimum(time, censored),
        "event": (time <= censored).astype(float),
        "value": value,
    }
    return table_of(columns, levels={"site": ("north", "south", "west")})


ROLES = OutcomeRoles(arm="arm", events={"death": ("time", "event")}, values={"value": None})
MODELLED = ("x", "age", "sex", "site", "high", "arm", "time", "event", "value")


@dataclass(frozen=True)
class Truth:
    """The law of `trial` itself: the perfect model, which has read nobody."""

    log_hr: float = -0.4
    missing: float = 0.0
    roles: OutcomeRoles = ROLES
    modelled: tuple[str, ...] = MODELLED

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        return trial(n, seed=seed + 1_000_000, log_hr=self.log_hr, missing=self.missing)
