"""Whether simulated patients look like the real ones: every covariate, in the data and in the model fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort import CohortModel, DataSource
from trialsim.data import PatientTable
from trialsim.records import Block
from trialsim.report.numbers import decimals
from trialsim.report.wording import fixed
from trialsim.rng import Streams
from trialsim.units import DAYS, TIME_UNITS

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CovariateRow:
    """A covariate (or one level of it): `mean (SD)` or share in the data, and in the model with its Monte Carlo error."""

    name: str
    unit: str
    real: str
    n_real: str
    simulated: str
    mcse: str
    n_simulated: str


def covariate_rows(source: DataSource, table: PatientTable, model: CohortModel, *, seed: int) -> list[CovariateRow]:
    """20,000 simulated patients, before eligibility, beside the data the model was fitted to (rows of the arms in use)."""
    cohort = model.sample(Streams(seed), Block(0, 20), 1000)
    used = np.zeros(table.n, dtype=bool)
    for value in source.arms.values():
        used |= table.equals(str(source.arm), value)
    rows: list[CovariateRow] = []
    for name in model.names:
        drawn = cohort.columns[name].numpy().ravel()
        real = table.columns[name][used] if used.any() else table.columns[name]
        levels = model.levels.get(name, ())
        if len(levels) > 2:
            own = table.levels[name]
            rows += [_row(f"{name}: {level}", "", _is(real, own.index(level)), (drawn == place).astype(float)) for place, level in enumerate(levels)]
            continue
        unit = model.units.get(name, "")
        if unit == "time":
            scale = TIME_UNITS.get(table.meaning[name].unit, 1.0)
            shown = "year" if float(np.nanmean(real)) * scale > 5 * DAYS["year"] else "day"
            rows.append(_row(name, f"{shown}s", real * scale / DAYS[shown], drawn / DAYS[shown]))
        else:
            rows.append(_row(name, unit, real, drawn))
    return rows


def _is(column: Vector, place: int) -> Vector:
    return np.where(np.isnan(column), np.nan, (column == place).astype(float))


def _row(name: str, unit: str, real: Vector, drawn: Vector) -> CovariateRow:
    known = real[~np.isnan(real)]
    mcse = float(drawn.std(ddof=1)) / len(drawn) ** 0.5
    places = decimals(mcse, float(drawn.mean()))
    binary = bool(np.isin(known, (0.0, 1.0)).all())

    def words(values: Vector) -> str:
        mean = fixed(float(values.mean()), places)
        return mean if binary else f"{mean} ({fixed(float(values.std(ddof=1)), places)})"

    return CovariateRow(name, "share" if binary else unit, words(known), f"{len(known):,}", words(drawn), fixed(mcse, places), f"{len(drawn):,}")
