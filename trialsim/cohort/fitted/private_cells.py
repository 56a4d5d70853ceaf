"""Columns in cells that are declared and not read off the data: what differential privacy counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.data import PatientTable
from trialsim.errors import Problem

Array = NDArray[np.float64]
Places = NDArray[np.int64]

BINS = 32
FEW = 16  # values: so many steps between the bounds have a cell each
_LEAST = 1e-6  # share of a cell


@dataclass(frozen=True, slots=True)
class Bounds:
    """The declared range of a column of numbers, and the step between its values (0: any value).

    They must come from knowledge of the quantity (the protocol, the instrument), not from looking at these data.
    """

    low: float
    high: float
    step: float = 0.0

    def problem(self) -> str:
        """What is wrong with them, or nothing."""
        if not (np.isfinite(self.low) and np.isfinite(self.high) and np.isfinite(self.step)):
            return "are not finite"
        if not self.low < self.high:
            return f"are not in order ({self.low:g} to {self.high:g})"
        return f"have a step ({self.step:g}) outside 0 to their width" if not 0 <= self.step <= self.high - self.low else ""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one column: `edges` `[cell, 2]` in order, a single value where both are the same.

    A category has a cell per level; numbers of few steps one per value; other numbers one at exactly the lower bound,
    `BINS` of equal width, and one at exactly the upper bound (where values beyond are put).
    """

    name: str
    edges: Array
    step: float

    @property
    def n(self) -> int:
        """The number of cells, without that of missing ones."""
        return len(self.edges)

    def places(self, column: Array) -> Places:
        """The cell of each patient; `n` where missing."""
        out = np.full(len(column), self.n, dtype=np.int64)
        known = ~np.isnan(column)
        values = np.clip(column[known], self.edges[0, 0], self.edges[-1, 1])
        if (self.edges[:, 0] == self.edges[:, 1]).all():
            middle = (self.edges[1:, 0] + self.edges[:-1, 0]) / 2
            out[known] = np.searchsorted(middle, values, "right")
        else:
            inner = 1 + np.searchsorted(self.edges[1:-1, 1], values, "left").clip(max=self.n - 3)
            out[known] = np.where(values <= self.edges[0, 0], 0, np.where(values >= self.edges[-1, 0], self.n - 1, inner))
        return out

    def values(self, places: Places, within: Array) -> Array:
        """A value of each cell: `within` (0 to 1) is how far up in it. On the declared step."""
        low, high = self.edges[places].T
        out = low + within * (high - low)
        if self.step > 0:
            start = self.edges[0, 0]
            out = np.clip(start + np.round((out - start) / self.step) * self.step, start, self.edges[-1, 1])
        return np.asarray(out)


def cells_of(table: PatientTable, name: str, bounds: Mapping[str, Bounds]) -> Cells | Problem:
    """The cells of a column, from the card's levels or the declared bounds; a Problem where neither is there."""
    meaning = table.meaning[name]
    if meaning.type == "binary" and not meaning.levels:
        return Cells(name, np.array([[0.0, 0.0], [1.0, 1.0]]), 0.0)
    if meaning.levels:
        codes = np.arange(len(meaning.levels), dtype=np.float64)
        return Cells(name, np.stack((codes, codes), axis=1), 0.0)
    if meaning.type == "categorical":
        return Problem(f'the card does not declare the levels of "{name}", and those found in the data are private', file=table.file)
    if name not in bounds:
        return Problem(f'no bounds are declared for "{name}", and the range of the data is private', file=table.file)
    given = bounds[name]
    if wrong := given.problem():
        return Problem(f'the bounds of "{name}" {wrong}', file=table.file)
    return number_cells(name, given)


def number_cells(name: str, bounds: Bounds, bins: int = BINS) -> Cells:
    """The cells of a column of numbers."""
    low, high, step = bounds.low, bounds.high, bounds.step
    if step > 0 and round((high - low) / step) < FEW:
        values = low + step * np.arange(round((high - low) / step) + 1)
        return Cells(name, np.stack((values, values), axis=1), step)
    inner = np.linspace(low, high, bins + 1)
    edges = np.concatenate(([[low, low]], np.stack((inner[:-1], inner[1:]), axis=1), [[high, high]]))
    return Cells(name, edges, step)


def shares_of(counts: Array) -> Array:
    """Noisy counts as shares: their projection on the shares that are at least 0 and sum to 1 (least squares).

    Cells with nothing but noise come to 0 rather than to half of the noise. Where the counts do not sum above 0 all
    shares are alike.

    **Source:** Duchi et al. 2008, ICML, doi 10.1145/1390156.1390191 (projection on the simplex).
    """
    total = float(counts.sum())
    if total <= 0:
        return np.full(len(counts), 1.0 / len(counts))
    ordered = np.sort(counts)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(counts) + 1)
    kept = int(np.flatnonzero(ordered > excess)[-1])
    return np.asarray(np.maximum(counts - excess[kept], 0.0) / total)


def cell_scores(shares: Array) -> Array:
    """The mean of a standard normal within each cell of an ordered column: (φ(a) − φ(b)) / (Φ(b) − Φ(a))."""
    shares = np.maximum(shares, _LEAST)
    ends = ndtri(np.clip(np.concatenate(([0.0], np.cumsum(shares / shares.sum()))), 0.0, 1.0))
    density = np.exp(-0.5 * ends**2) / np.sqrt(2 * np.pi)
    return np.asarray((density[:-1] - density[1:]) / (shares / shares.sum()))
