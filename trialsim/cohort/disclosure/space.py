"""Where patients lie: columns of mixed types in one space, and the distances between real and synthetic patients in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.data import PatientTable

Array = NDArray[np.float64]
Places = NDArray[np.int64]

CELLS_AT_ONCE = 4_000_000  # distances held at one time
MISSING = 1.0  # squared distance of a missing cell from a known one; two random patients differ by about 2


@dataclass(frozen=True, slots=True)
class Points:
    """Patients in a space: `values` `[patient, axis]`, 0 where not known; `known` `[patient, axis]`, 1 or 0.

    `missing` `[axis]` is the squared distance of a cell that only one of two patients has.
    """

    values: Array
    known: Array
    missing: Array

    def take(self, rows: Places | NDArray[np.bool_]) -> Points:
        """These patients only."""
        return Points(self.values[rows], self.known[rows], self.missing)


@dataclass(frozen=True, slots=True)
class Space:
    """The axes of the columns `names`, laid out by the margins of a reference table.

    A number is one axis: its normal score Φ⁻¹((rank − ½) / n) among the reference's values (mid-ranks at ties, linear
    between values, constant beyond them), so that no unit or outlier dominates. A category is an axis per level, 0 or
    1. Two random patients differ by 2 in the square in a number, two of different levels by 2.

    The reference is all real patients, members and non-members alike, so that the space itself tells nobody's membership.
    """

    names: tuple[str, ...]
    curves: Mapping[str, tuple[Array, Array]]
    levels: Mapping[str, tuple[str, ...]]
    widths: Mapping[str, int]

    @classmethod
    def of(cls, table: PatientTable, names: Sequence[str]) -> Space:
        """The space of these columns of a table; those without two different values have no axis."""
        curves: dict[str, tuple[Array, Array]] = {}
        levels: dict[str, tuple[str, ...]] = {}
        for name in names:
            column = table.columns[name]
            values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
            if len(values) < 2:
                continue
            if is_category(table, name):
                levels[name] = labels_of(table, name)
            else:
                curves[name] = values, ndtri((np.cumsum(counts) - 0.5 * counts) / counts.sum())
        kept = tuple(name for name in names if name in curves or name in levels)
        return cls(kept, curves, levels, {name: len(levels[name]) if name in levels else 1 for name in kept})

    def place(self, table: PatientTable) -> Points:
        """The patients of a table in this space. A level that the reference does not have is on no axis."""
        blocks, known = [np.empty((table.n, 0))], [np.empty((table.n, 0))]
        for name in self.names:
            column = table.columns[name]
            there = ~np.isnan(column)
            if name in self.curves:
                blocks.append(np.interp(np.where(there, column, 0.0), *self.curves[name])[:, None] * there[:, None])
            else:
                found = {label: place for place, label in enumerate(labels_of(table, name))}
                codes = [found.get(label, -1) for label in self.levels[name]]
                blocks.append((np.where(there, column, -2.0)[:, None] == np.array(codes, dtype=np.float64)) * 1.0)
            known.append(np.repeat(there[:, None] * 1.0, self.widths[name], axis=1))
        missing = np.concatenate([np.full(self.widths[name], MISSING / self.widths[name]) for name in self.names] or [np.empty(0)])
        return Points(np.concatenate(blocks, axis=1), np.concatenate(known, axis=1), missing)

    def axes(self, names: Sequence[str]) -> Places:
        """The axes of some of the columns."""
        found: list[int] = []
        first = 0
        for name in self.names:
            if name in names:
                found += range(first, first + self.widths[name])
            first += self.widths[name]
        return np.array(found, dtype=np.int64)


def is_category(table: PatientTable, name: str) -> bool:
    """Whether a column's cells are levels and not numbers."""
    return name in table.levels or table.meaning[name].type == "binary"


def labels_of(table: PatientTable, name: str) -> tuple[str, ...]:
    """The names of a column's levels, in the order of their codes."""
    return table.levels.get(name, ("0", "1"))


def nearest(points: Points, others: Points, k: int) -> tuple[Array, Places]:
    """The distances `[patient, k]` from each point to the `k` nearest of the others, rising, and which those are.

        d² = Σ over axes known in both (x − y)² + 1 for every column known in one of them only

    Found by matrix products in blocks of patients, then computed again exactly for the nearest (so that a copy is at
    distance 0). Where fewer than `k` others exist the farthest is repeated.
    """
    found = min(k, len(others.values))
    out, which = np.empty((len(points.values), found)), np.empty((len(points.values), found), dtype=np.int64)
    squares, flags, values = (array.T.copy() for array in (others.values**2, others.known, others.values))
    cost = points.missing
    step = max(1, CELLS_AT_ONCE // max(1, len(others.values)))
    for first in range(0, len(points.values), step):
        x, m = points.values[first : first + step], points.known[first : first + step]
        square = (x * x) @ flags + m @ squares - 2.0 * (x @ values) + (m * cost) @ (1.0 - flags) + ((1.0 - m) * cost) @ flags
        near = np.argpartition(square, found - 1, axis=1)[:, :found]
        both = m[:, None, :] * others.known[near]
        exact = (both * (x[:, None, :] - others.values[near]) ** 2).sum(-1) + ((m[:, None, :] != others.known[near]) * cost).sum(-1)
        order = np.argsort(exact, axis=1, kind="stable")
        out[first : first + step] = np.sqrt(np.take_along_axis(exact, order, axis=1))
        which[first : first + step] = np.take_along_axis(near, order, axis=1)
    spare = [(0, 0), (0, k - found)]
    return np.pad(out, spare, mode="edge"), np.pad(which, spare, mode="edge")
