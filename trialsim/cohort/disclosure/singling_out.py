"""Singling out: does a statement read off synthetic rows fit exactly one real patient?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.space import Array, is_category, labels_of
from trialsim.data import PatientTable

Flags = NDArray[np.bool_]

ATTRIBUTES = 4  # of a multivariate predicate
_AT_ONCE = 256


def cells(table: PatientTable, names: Sequence[str], reference: PatientTable) -> Array:
    """The columns `[patient, column]`, levels as their places in the reference table."""
    out = np.empty((table.n, len(names)))
    for index, name in enumerate(names):
        column = table.columns[name].copy()
        if is_category(table, name):
            there = {label: float(place) for place, label in enumerate(labels_of(reference, name))}
            places = np.array([there.get(label, -1.0 - place) for place, label in enumerate(labels_of(table, name))])
            known = ~np.isnan(column)
            column[known] = places[column[known].astype(np.int64)]
        out[:, index] = column
    return out


def univariate(synthetic: Array, train: Array, holdout: Array) -> tuple[Flags, Flags]:
    """Which predicates on one column single out a patient of `train`, and of `holdout`.

    Predicates: x = v for every value v that one synthetic row alone has, x ≤ the least and x ≥ the greatest value.
    """
    hits = []
    for column in range(synthetic.shape[1]):
        known = synthetic[:, column][~np.isnan(synthetic[:, column])]
        if not len(known):
            continue
        values, counts = np.unique(known, return_counts=True)
        for real in (train, holdout):
            cell = np.sort(real[:, column])  # missing ones last
            cell = cell[~np.isnan(cell)]
            alone = values[counts == 1]
            equal = np.searchsorted(cell, alone, "right") - np.searchsorted(cell, alone, "left")
            ends = [np.searchsorted(cell, values[0], "right"), len(cell) - np.searchsorted(cell, values[-1], "left")]
            hits.append(np.concatenate((equal, ends)) == 1)
    empty = [np.zeros(0, dtype=bool)]
    return np.concatenate(hits[0::2] or empty), np.concatenate(hits[1::2] or empty)


def multivariate(
    synthetic: Array, train: Array, holdout: Array, *, category: Flags, attacks: int, generator: np.random.Generator, attributes: int = ATTRIBUTES
) -> tuple[Flags, Flags]:
    """Which predicates on several columns single out a patient of `train`, and of `holdout`.

    Each is read off a random synthetic row and random columns: equal to its cell in a category (and where it is
    missing), on its side of the synthetic median and at least as far out in a number. Only predicates that fit exactly
    one synthetic row are tried, at most `attacks` of them out of 8 times as many drawn.

    **Source:** Giomi et al. 2023, PoPETs 2023:312, doi 10.56553/popets-2023-0055, section 4.1.
    """
    n, width = synthetic.shape
    attributes = min(attributes, width)
    median = np.array([float(np.median(known)) if len(known := column[~np.isnan(column)]) else 0.0 for column in synthetic.T])
    hits: list[tuple[Flags, Flags]] = []
    found = 0
    for _ in range(0, 8 * attacks, _AT_ONCE):
        if found >= attacks or not width:
            break
        row = generator.integers(n, size=_AT_ONCE)
        columns = np.argsort(generator.random((_AT_ONCE, width)), axis=1)[:, :attributes]
        fits = [_fitting(real, synthetic[row[:, None], columns], columns, category, median) for real in (synthetic, train, holdout)]
        alone = fits[0] == 1
        hits.append((fits[1][alone] == 1, fits[2][alone] == 1))
        found += int(alone.sum())
    if not hits:
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
    return np.concatenate([one for one, _ in hits])[:attacks], np.concatenate([two for _, two in hits])[:attacks]


def _fitting(real: Array, values: Array, columns: NDArray[np.int64], category: Flags, median: Array) -> NDArray[np.int64]:
    """How many patients each predicate fits, of `values` and `columns` `[predicate, attribute]`."""
    fits = np.ones((len(values), len(real)), dtype=bool)
    for value, column in zip(values.T, columns.T, strict=True):
        cell, v = real.T[column], value[:, None]
        side = np.where((v > median[column][:, None]), cell >= v, cell <= v)
        told = np.where(category[column][:, None], cell == v, side)
        fits &= np.where(np.isnan(v), np.isnan(cell), told)
    return fits.sum(1)
