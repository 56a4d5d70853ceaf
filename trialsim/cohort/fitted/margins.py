"""The margins of a fitted cohort: from a standard normal score to a value, increasing and smooth.

No margin holds a patient's value: a smooth margin is a spline with a knot every 0.6 of a score, and an atom is a value
that at least 10 patients share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from trialsim.tensors import resident

Array = NDArray[np.float64]

EDGE = 4.5  # scores beyond ±4.5 (3 in a million) have the value of the edge
POINTS = 1025
_STEP = 2 * EDGE / (POINTS - 1)
_KNOT_SPACING = 0.6
_SMOOTHING = 0.05
_TAIL_COUNT = 5  # values at each end that the spline does not follow one by one


@dataclass(frozen=True)
class SmoothMargin:
    """A strictly increasing quantile function x = Q(z), tabulated on a uniform grid of scores and interpolated linearly.

    A column with atoms (zero inflation, a detection limit) is in two parts: a stepped column `gate` says which atom or
    none, and Q is of the values in none. `atoms` has a value for each level of the gate, NaN where there is no atom.
    """

    table: Float[Tensor, "point"]
    gate: str = ""
    atoms: tuple[float, ...] = ()

    @cached_property
    def _lines(self) -> tuple[Float[Tensor, "point"], Float[Tensor, "point"]]:
        """Intercept and slope of Q between two points of the grid, as a function of the place on the grid."""
        slope = torch.cat((self.table.diff(), torch.zeros_like(self.table[:1])))
        return self.table - torch.arange(POINTS, device=self.table.device) * slope, slope

    def quantile(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The value at the standard normal score `z`."""
        place = z.add(EDGE).mul_(1.0 / _STEP).clamp_(0.0, POINTS - 1.000001).reshape(-1)
        index = place.to(torch.int32)
        intercept, slope = (resident(line, z.device) for line in self._lines)
        return place.mul_(slope.index_select(0, index)).add_(intercept.index_select(0, index)).view(z.shape)


@dataclass(frozen=True, slots=True)
class SteppedMargin:
    """An ordinal quantile function: level l where thresholds[l − 1] < z ≤ thresholds[l].

    `values` are what the cohort holds for each level: its index for a category, the number itself for a score. With
    `parents` (columns drawn before, as indices of levels) there is a row of thresholds for every combination of their
    levels, the last parent's changing fastest: a direct link between discrete columns that a Gaussian copula cannot make.
    """

    thresholds: Float[Tensor, "cell cut"]
    values: Float[Tensor, "level"]
    parents: tuple[str, ...] = ()
    parent_levels: tuple[int, ...] = ()

    def level(self, z: Float[Tensor, "*shape"], parents: Sequence[Float[Tensor, "*shape"]] = ()) -> Float[Tensor, "*shape"]:
        """The level's index at the standard normal score `z`, given the parents' levels."""
        if not self.parents:
            first, *others = self.thresholds[0].tolist()
            out = torch.gt(z, first, out=torch.empty_like(z))
            above = torch.empty_like(z) if others else out
            for cut in others:
                out.add_(torch.gt(z, cut, out=above))
            return out
        out = torch.zeros_like(z)
        cell = parent_cell(parents, self.parent_levels).to(torch.int32).reshape(-1)
        for cuts in resident(self.thresholds, z.device).unbind(-1):
            out += z > cuts.contiguous().index_select(0, cell).view(z.shape)
        return out

    @property
    def holds_levels(self) -> bool:
        """Whether the cohort holds the levels' indices themselves."""
        return self.values.tolist() == list(range(len(self.values)))

    def value(self, level: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the cohort holds for a level."""
        return held(self.values, level)


def held(values: Float[Tensor, "level"], level: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`values[level]`. `values` are a constant on the CPU."""
    return resident(values, level.device).index_select(0, level.to(torch.int32).reshape(-1)).view(level.shape)


def parent_cell(parents: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The number of the combination of the parents' levels."""
    cell = torch.zeros_like(parents[0])
    for level, size in zip(parents, sizes, strict=True):
        cell = cell * size + level
    return cell


Margin = SmoothMargin | SteppedMargin


@dataclass(frozen=True, slots=True)
class Scores:
    """One column on the scale of normal scores, as the copula's likelihood sees it.

    A cell is *exact* (`exact` is its score), or known up to an *interval* (`interval` is its number, `ends[interval]`
    its two ends), or missing (NaN and −1).
    """

    exact: Array
    interval: NDArray[np.int64]
    ends: Array


def fit_smooth(column: Array, *, gate: str = "", atoms: tuple[float, ...] = ()) -> tuple[SmoothMargin, Scores]:
    """A smooth margin of a numeric column `[patient]` (NaN missing), and the column's scores; atoms count as missing.

    The sorted values are regressed on their scores z = Φ⁻¹((rank − ½) / n) by an I-spline (sums of cubic B-splines with
    non-negative coefficients, so Q is increasing), weighted by the precision of an order statistic, φ(z)² / (u (1 − u)),
    with a penalty on changes of slope. Beyond the sixth value from each end Q approaches a bound just outside the
    observed range, a hyperbola with matching slope; columns that are never negative stay positive.

    **Source:** Ramsay 1988, Statistical Science 3:425, doi 10.1214/ss/1177012761 (I-splines); Eilers & Marx 1996,
    doi 10.1214/ss/1038425655 (difference penalties).
    """
    known = ~np.isnan(column) & ~np.isin(column, atoms)
    x = column[known]
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    score = ndtri((np.cumsum(counts) - 0.5 * counts)[place] / len(x))  # mid-ranks
    body = np.sort(score)
    rare = min(_TAIL_COUNT, len(body) // 4)
    low, high = float(body[rare]), float(body[-1 - rare])
    floor = 0.0 if np.nanmin(column) >= 0 else -np.inf
    curve = _increasing_spline(score, x, low, high, positive=floor == 0.0)
    margin = SmoothMargin(torch.from_numpy(_with_tails(curve, low, high, (floor, float(x.min()), float(x.max())))), gate, atoms)
    exact = np.full(len(column), np.nan)
    exact[known] = score
    return margin, Scores(exact=exact, interval=np.full(len(column), -1, dtype=np.int64), ends=np.empty((0, 2)))


def fit_stepped(column: Array, values: Array, parents: Mapping[str, tuple[Array, int]] | None = None, *, shrunk: bool = True) -> tuple[SteppedMargin, Scores]:
    """A stepped margin of a column `[patient]` whose cells are indices of `values` (NaN missing), and its scores.

    `parents` are the columns (level indices, number of levels) that it is linked to. The shares of the levels within a
    combination of theirs are shrunk to the overall shares by one pseudo-patient, so that none is 0 or 1 (unless not `shrunk`).
    """
    parents = parents or {}
    sizes = tuple(size for _, size in parents.values())
    cell = np.zeros(len(column))
    for levels, size in parents.values():
        cell = cell * size + levels
    known = ~np.isnan(column)
    n_levels, n_cells = len(values), int(np.prod(sizes)) if sizes else 1
    overall = np.bincount(column[known].astype(np.int64), minlength=n_levels).astype(np.float64)
    overall /= overall.sum()
    seen = known & ~np.isnan(cell)
    counts = np.zeros((n_cells, n_levels))
    np.add.at(counts, (cell[seen].astype(np.int64), column[seen].astype(np.int64)), 1.0)
    pseudo = 1.0 if shrunk else 1e-12
    shares = (counts + pseudo * overall) / (counts.sum(-1, keepdims=True) + pseudo) if parents else overall[None]
    below = np.cumsum(shares, axis=1)[:, :-1]
    if not shrunk:
        below = np.where(below < 1e-9, 0.0, np.where(below > 1 - 1e-9, 1.0, below))
    thresholds = ndtri(np.minimum(below, 1.0))
    edges = np.concatenate((np.full((n_cells, 1), -np.inf), thresholds, np.full((n_cells, 1), np.inf)), axis=1)
    interval = np.full(len(column), -1, dtype=np.int64)
    interval[seen] = cell[seen].astype(np.int64) * n_levels + column[seen].astype(np.int64)
    margin = SteppedMargin(torch.from_numpy(thresholds), torch.from_numpy(np.asarray(values, dtype=np.float64)), tuple(parents), sizes)
    ends = np.stack((edges[:, :-1].ravel(), edges[:, 1:].ravel()), axis=1)
    return margin, Scores(exact=np.full(len(column), np.nan), interval=interval, ends=ends)


class _Curve:
    """Q and its slope between two scores."""

    def __init__(self, spline: Any, centre: float, scale: float):
        self._spline, self._slope = spline, spline.derivative()
        self._centre, self._scale = centre, scale

    def value(self, z: Array) -> Array:
        return np.asarray(self._spline(z)) * self._scale + self._centre

    def slope(self, z: float) -> float:
        return float(self._slope(z)) * self._scale


def _increasing_spline(z: Array, x: Array, low: float, high: float, *, positive: bool) -> _Curve:
    from scipy.interpolate import BSpline
    from scipy.optimize import nnls

    pieces = max(3, round((high - low) / _KNOT_SPACING))
    inner = np.linspace(low, high, pieces + 1)
    knots = np.concatenate((np.full(3, low), inner, np.full(3, high)))
    basis = BSpline.design_matrix(np.clip(z, low, high), knots, 3).toarray()
    increasing = np.cumsum(basis[:, ::-1], axis=1)[:, ::-1]  # column 0 is 1, the others rise from 0 to 1
    scale = float(x.std()) or 1.0
    centre = 0.0 if positive else float(x.min()) - 3 * scale
    y = (x - centre) / scale
    u = ndtr(z)
    weight = np.exp(-0.5 * z * z) / np.sqrt(u * (1.0 - u))
    weight /= np.sqrt((weight**2).sum())
    least = np.full(increasing.shape[1], 1e-4)  # strictly increasing, and above 0
    penalty = np.diff(np.eye(increasing.shape[1])[1:], n=2, axis=0) * _SMOOTHING
    rows = np.vstack((increasing * weight[:, None], penalty))
    target = np.concatenate(((y - increasing @ least) * weight, -penalty @ least))
    coefficients = nnls(rows, target)[0] + least
    return _Curve(BSpline(knots, np.cumsum(coefficients), 3), centre, scale)


def _with_tails(curve: _Curve, low: float, high: float, bounds: tuple[float, float, float]) -> Array:
    """Q on the grid: the curve in the middle, a hyperbola to just beyond the observed range at each end."""
    floor, lowest, highest = bounds
    grid = np.linspace(-EDGE, EDGE, POINTS)
    inner = np.linspace(low, high, POINTS)
    inside = inner[(curve.value(inner) >= lowest) & (curve.value(inner) <= highest)]  # where few are left the spline may run beyond the data
    low, high = float(inside[0]), float(inside[-1])
    table = curve.value(np.clip(grid, low, high))
    for end, below in ((low, True), (high, False)):
        outside = grid < end if below else grid > end
        start, slope = float(curve.value(np.array([end]))[0]), max(curve.slope(end), 1e-9)
        room = max(1.05 * ((start - lowest) if below else (highest - start)), 0.1 * slope)
        if below and np.isfinite(floor):
            room = min(room, 0.98 * (start - floor))
        travelled = slope * np.abs(grid[outside] - end)
        table[outside] = start + (-1 if below else 1) * room * travelled / (room + travelled)
    return table
