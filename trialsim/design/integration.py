"""The probability that a sequence of z statistics crosses its bounds: recursive numerical integration.

The statistics Z_1, …, Z_K at information fractions t_1 < … < t_K are normal with variance 1, covariance √(t_j / t_k) and
means m_k (m_k = drift · √t_k when the effect is constant). Their scores S_k = Z_k √t_k have independent increments, so
the density of S_k on the event that no earlier look stopped follows from that of S_{k−1} by one convolution over the
continuation region. The convolution is a Gauss–Legendre sum over panels as wide as the integrand is smooth, which
leaves an error near 1e-13. Only ratios of the t_k matter: the last may be below 1.

A lower bound of −inf (NaN counts as none) means that nothing stops there, an upper bound of +inf or NaN likewise.

**Source**: Armitage, McPherson & Rowe 1969, doi 10.2307/2343787; Jennison & Turnbull 2000, Group Sequential Methods,
chapter 19 (which uses Simpson's rule).

Not handled: looks closer than 1e-6 of the information, which cost much memory and time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Vector = NDArray[np.float64]

REACH = 8.5  # standard errors that the density is followed to: 2 Φ(−8.5) = 2e-17
PANEL = 5.0  # width of a panel, in standard deviations of the narrowest factor of the integrand (tried: 1e-14 up to 5, 1e-12 at 8)
DENSE = 1_000_000  # larger convolutions skip the pairs of points that are too far apart to matter
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Probabilities of first crossing, per look: above the upper bounds and below the lower bounds, `[look]`."""

    upper: Vector
    lower: Vector

    @property
    def stop(self) -> Vector:
        """The probability that the trial ends at each look: a crossing, or the final look."""
        stopped = self.upper + self.lower
        return np.append(stopped[:-1], 1.0 - stopped[:-1].sum())


@dataclass(frozen=True, slots=True)
class Continuing:
    """The distribution of the score at information t on the event that the trial goes on, as point masses.

    Under an effect whose mean score at information t is `mean`. Before the first look it is one point, 0, at t = 0.
    """

    score: Vector
    mass: Vector
    information: float = 0.0
    mean: float = 0.0

    @classmethod
    def start(cls) -> Continuing:
        return cls(np.zeros(1), np.ones(1))

    def _standardised(self, z: float, information: float, mean_z: float) -> tuple[Vector, float]:
        spread = math.sqrt(information - self.information)
        shift = mean_z * math.sqrt(information) - self.mean
        return (z * math.sqrt(information) - shift - self.score) / spread, spread

    def above(self, z: float, information: float, mean_z: float = 0.0) -> float:
        """The probability of going on and then exceeding `z` at `information`, where the statistic has mean `mean_z`."""
        return float(self.mass @ ndtr(-self._standardised(z, information, mean_z)[0]))

    def below(self, z: float, information: float, mean_z: float = 0.0) -> float:
        """The probability of going on and then falling below `z`."""
        return float(self.mass @ ndtr(self._standardised(z, information, mean_z)[0]))

    def upper_bound(self, probability: float, information: float, mean_z: float = 0.0) -> float:
        """The z exceeded with the given probability; +inf where that is 0, −inf where it is all there is.

        Newton's method on the logarithm of the tail. A normal density restricted to intervals and convolved with
        normals is log-concave (Prékopa 1973), so its tail is too and the iteration, started from the right (the
        quantile if no look had stopped anything), moves left to the root and never past it.
        """
        if probability < 1e-300:
            return math.inf
        if probability >= float(self.mass.sum()):
            return -math.inf
        root = math.sqrt(information)
        z = mean_z - float(ndtri(probability))
        for _ in range(200):
            points, spread = self._standardised(z, information, mean_z)
            tail = float(self.mass @ ndtr(-points))
            if tail <= 0.0:  # beyond the reach of the density: still to the right of the root
                z -= 0.5
                continue
            density = float(self.mass @ np.exp(-0.5 * points * points - _LOG_ROOT_2PI)) * root / spread
            step = tail / density * math.log(probability / tail)
            z -= step
            if abs(step) < 1e-12 * max(1.0, abs(z)):
                break
        return z

    def lower_bound(self, probability: float, information: float, mean_z: float = 0.0) -> float:
        """The z below which the statistic falls with the given probability: the mirror image of `upper_bound`."""
        mirrored = Continuing(-self.score, self.mass, self.information, -self.mean)
        return -mirrored.upper_bound(probability, information, -mean_z)

    def advance(self, lower: float, upper: float, information: float, following: float, mean_z: float = 0.0) -> Continuing:
        """Those who are between the bounds at `information`; `following` is the information of the next look."""
        root = math.sqrt(information)
        mean = mean_z * root
        low = max(-math.inf if math.isnan(lower) else lower, min(0.0, mean_z) - REACH) * root
        high = min(math.inf if math.isnan(upper) else upper, max(0.0, mean_z) + REACH) * root
        if not low < high:
            return Continuing(np.zeros(1), np.zeros(1), information, mean)
        before, after = information - self.information, following - information
        narrowest = math.sqrt(before * after / (before + after))
        panels = math.ceil((high - low) / (PANEL * narrowest))
        edges = np.linspace(low, high, panels + 1)
        half = 0.5 * (edges[1] - edges[0])
        score = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * _NODES).ravel()
        spread = math.sqrt(before)
        source = self.score + (mean - self.mean)
        if len(score) * len(source) <= DENSE:
            density = _convolve(score, source, self.mass, spread)
        else:
            density = np.empty_like(score)
            first = np.searchsorted(source, edges[:-1] - REACH * spread)
            last = np.searchsorted(source, edges[1:] + REACH * spread)
            for panel, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
                at = slice(16 * panel, 16 * panel + 16)
                density[at] = _convolve(score[at], source[start:stop], self.mass[start:stop], spread)
        return Continuing(score, density * np.tile(half * _WEIGHTS, panels), information, mean)


def _convolve(score: Vector, source: Vector, mass: Vector, spread: float) -> Vector:
    """The density at `score` of a normal with standard deviation `spread` about points `source` with masses `mass`."""
    distance = (score[:, None] - source) / spread
    return np.asarray(np.exp(-0.5 * distance * distance - _LOG_ROOT_2PI) @ mass / spread)


def crossing_probabilities(
    *,
    information: Sequence[float] | Vector,
    upper: Sequence[float] | Vector,
    lower: Sequence[float] | Vector | None = None,
    drift: float = 0.0,
    mean_z: Sequence[float] | Vector | None = None,
) -> Crossing:
    """The probability of first crossing each bound at each look.

    `information` `[look]`: increasing fractions. `upper`, `lower` `[look]` on the z scale. The statistic at look k has
    mean `drift · √t_k`, or `mean_z[k]` where given (any effect that changes over time). At a look where both bounds are
    equal everyone stops.

        >>> crossing = crossing_probabilities(information=[0.5, 1], upper=[2.178272, 2.178272])
        >>> round(float(crossing.upper.sum()), 6)
        0.025
    """
    t = np.asarray(information, dtype=np.float64)
    tops = np.nan_to_num(np.asarray(upper, dtype=np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    floors = np.full(len(t), -np.inf) if lower is None else np.nan_to_num(np.asarray(lower, dtype=np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    means = drift * np.sqrt(t) if mean_z is None else np.asarray(mean_z, dtype=np.float64)
    state = Continuing.start()
    up, down = np.zeros(len(t)), np.zeros(len(t))
    for look, (time, top, floor, mean) in enumerate(zip(t.tolist(), tops.tolist(), floors.tolist(), means.tolist(), strict=True)):
        if top < math.inf:
            up[look] = state.above(top, time, mean)
        if floor > -math.inf:
            down[look] = state.below(min(floor, top), time, mean)
        if look + 1 < len(t):
            state = state.advance(floor, top, time, float(t[look + 1]), mean)
    return Crossing(up, down)
