"""The subgroups that a check looks into: levels of columns with few values, halves of the others at the real median."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trialsim.cohort.fidelity.side_by_side import Mask, SideBySide

FEWEST_PATIENTS = 50


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The patients of one subgroup on both sides. Patients whose cell is missing belong to none of the column's subgroups."""

    name: str
    column: str
    real: Mask
    synthetic: Mask

    @property
    def n_real(self) -> int:
        return int(self.real.sum())

    @property
    def n_synthetic(self) -> int:
        return int(self.synthetic.sum())


def subgroups(pair: SideBySide) -> tuple[Subgroup, ...]:
    """Every level, or half, of every covariate, whatever its size: who abstains from one says so."""
    found = []
    for column in pair.covariates:
        known = column.real[~np.isnan(column.real)]
        if not len(known):
            continue
        if column.is_stepped:
            for value in np.unique(known):
                found.append(Subgroup(f"{column.name} = {column.label(value)}", column.name, column.real == value, column.synthetic == value))
            continue
        middle = float(np.median(known))
        if middle == known.max():  # more than half have the largest value
            middle = float(known[known < middle].max())
        for name, one, two in (
            (f"{column.name} ≤ {middle:g}", column.real <= middle, column.synthetic <= middle),
            (f"{column.name} > {middle:g}", column.real > middle, column.synthetic > middle),
        ):
            found.append(Subgroup(name, column.name, one, two))
    return tuple(found)
