"""Solves the bounds of a group sequential test, look by look: the arithmetic behind `bounds`.

A pass over the looks carries the distribution of those who go on, once under the null (for efficacy) and once at the drift
at which futility is spent. Around it two one-dimensional searches by Brent's method: for the free constant of a boundary by
shape, and for the drift of beta spending. Both functions searched are monotone.

**Source**: Jennison & Turnbull 2000, chapters 7 and 19; Pampallona, Tsiatis & Kim 2001, doi 10.1177/009286150103500408.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from trialsim.design.boundary import Boundary
from trialsim.design.choice import Rule
from trialsim.design.futility import FutilityRule, SpendingFutility
from trialsim.design.integration import Continuing, crossing_probabilities
from trialsim.design.spending import SpendingLaw
from trialsim.errors import NotSupportedError, ProtocolError

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Solver:
    """One set of looks and rules. `stated` are lower bounds that are given (NaN elsewhere); `constant` fixes a boundary by shape."""

    efficacy: Rule | None
    futility: FutilityRule | None
    alpha: float
    sides: int
    information: Vector
    spending_time: Vector
    stated: Vector
    constant: float | None

    def solve(self, planned_drift: float | None) -> tuple[Vector, Vector, float]:
        """The upper and lower bounds `[look]`, and the drift of beta spending (NaN without; `planned_drift` where it is fixed)."""
        drift = math.nan
        if isinstance(self.futility, SpendingFutility) and self.futility.beta is not None:
            drift = self._drift(self.futility, self.futility.beta) if planned_drift is None else planned_drift
            upper, lower = self._both(self._beta_increments(self.futility, self.futility.beta), drift)
        elif isinstance(self.futility, SpendingFutility) and self.futility.alpha is not None:
            spent = self.futility.one_side(self.spending_time, self.futility.alpha, 1)
            upper, lower = self._both(np.diff(spent, prepend=0.0), 0.0)
        else:
            upper, lower = self._both(None, 0.0)
            if not np.all(np.isnan(lower)):
                lower[-1] = upper[-1]
        if isinstance(self.efficacy, Boundary) and self.efficacy.free and np.isposinf(upper[-1]):
            raise ProtocolError(f"the interim looks of {self.efficacy.word()} alone spend more than alpha = {self.alpha:g}")
        if np.any(np.isneginf(upper)):
            raise ProtocolError(f"the binding futility rule stops so often under the null that alpha = {self.alpha:g} cannot be spent")
        return upper, lower, drift

    @property
    def _binding(self) -> bool:
        return self.futility is not None and self.futility.binding

    # Beta spending: the drift

    def _beta_increments(self, futility: SpendingFutility, beta: float) -> Vector:
        return np.diff(futility.one_side(self.spending_time, beta, 1), prepend=0.0)

    def _drift(self, futility: SpendingFutility, beta: float) -> float:
        increments = self._beta_increments(futility, beta)

        def excess(drift: float) -> float:
            upper, lower = self._both(increments, drift)
            return float(crossing_probabilities(information=self.information, upper=upper, lower=lower, drift=drift).lower.sum()) - beta

        fixed = -float(ndtri(self.alpha / self.sides)) - float(ndtri(beta))
        last = 1.0 / math.sqrt(float(self.information[-1]))
        low, high = max(fixed * last - 0.5, 0.0), (fixed + 1.0) * last
        while excess(low) < 0.0 and low > 0.0:
            low = max(low - 1.0, 0.0)
        while excess(high) > 0.0:
            high += 1.0
            if high > 100.0 * last:
                raise ProtocolError(f"futility by beta spending: no effect has power {1.0 - beta:g} with these bounds")
        return float(brentq(excess, low, high, xtol=1e-11, rtol=1e-13))

    # Efficacy: by spending, or by the free constant of a boundary

    @cached_property
    def _upper_alone(self) -> Vector:
        """The efficacy bounds where futility does not bind, hence does not matter."""
        return self._both(None, 0.0)[0]

    def _both(self, lower_increments: Vector | None, drift: float) -> tuple[Vector, Vector]:
        """The upper and lower bounds, the lower ones spending `lower_increments` at `drift`."""
        n_looks = len(self.information)
        open_looks, rest = np.full(n_looks, np.nan), np.append(np.zeros(n_looks - 1), np.nan)
        if lower_increments is not None and not self._binding:
            return self._pass(self._upper_alone, rest, lower_increments, drift)
        if self.efficacy is None:
            return self._pass(open_looks, rest, lower_increments, drift)
        if isinstance(self.efficacy, SpendingLaw):
            spent = self.efficacy.one_side(self.spending_time, self.alpha, self.sides)
            return self._pass(open_looks, np.append(np.diff(spent, prepend=0.0)[:-1], np.nan), lower_increments, drift)
        if not isinstance(self.efficacy, Boundary):
            raise NotSupportedError(f"efficacy by {type(self.efficacy).__name__}")
        boundary = self.efficacy
        if not boundary.free:
            return self._pass(boundary.critical_z(math.nan, self.information, self.sides), rest, lower_increments, drift)
        if self.constant is not None or not boundary.free_everywhere:
            stated = boundary.critical_z(math.nan if self.constant is None else self.constant, self.information, self.sides)
            return self._pass(np.append(stated[:-1], np.nan), rest, lower_increments, drift)
        share = self.alpha / self.sides

        def solved(constant: float) -> tuple[Vector, Vector]:
            return self._pass(boundary.critical_z(constant, self.information, self.sides), rest, lower_increments, drift)

        def excess(constant: float) -> float:
            upper, lower = solved(constant)
            floor = -upper if self.sides == 2 else lower if self._binding else None
            return float(crossing_probabilities(information=self.information, upper=upper, lower=floor).upper.sum()) - share

        # Without futility the final critical value lies between the fixed-sample and the Bonferroni one.
        scale = float(boundary.critical_z(1.0, self.information, self.sides)[-1])
        low, high = -float(ndtri(share)), -float(ndtri(share / n_looks)) + 1e-6
        while excess(high / scale) > 0.0:
            low, high = high, high + 1.0
            if high > 12.0:
                raise ProtocolError(f"no constant of the boundary {boundary.word()} spends as little as alpha = {self.alpha:g}")
        while excess(low / scale) < 0.0:
            low -= 0.5
            if low < -8.0:
                raise ProtocolError(f"the binding futility rule stops so often under the null that alpha = {self.alpha:g} cannot be spent")
        return solved(float(brentq(excess, low / scale, high / scale, xtol=1e-11, rtol=1e-13)))

    # One pass over the looks

    def _pass(self, upper: Vector, increments: Vector, lower_increments: Vector | None, drift: float) -> tuple[Vector, Vector]:
        """Solves look by look the upper bounds that are NaN, so that they spend `increments` under the null (NaN: all that is
        left of alpha), and the lower bounds so that they spend `lower_increments` at `drift`."""
        upper, lower = upper.copy(), self.stated.copy()
        given = ~np.isnan(upper)
        t = self.information.tolist()
        null, joint, left = Continuing.start(), Continuing.start(), self.alpha / self.sides
        for look, time in enumerate(t):
            final = look + 1 == len(t)
            top = float(upper[look]) if given[look] else null.upper_bound(max(left, 0.0) if np.isnan(increments[look]) else float(increments[look]), time)
            upper[look] = np.nan if top == math.inf and not final else top
            mean = drift * math.sqrt(time)
            if lower_increments is not None:
                at_final = final and isinstance(self.futility, SpendingFutility) and self.futility.beta is not None
                lower[look] = top if at_final else min(joint.lower_bound(float(lower_increments[look]), time, mean), top)
            if final:
                break
            if not given.all():
                left -= null.above(top, time) if given[look] else float(increments[look])
                floor = -top if self.sides == 2 else float(lower[look]) if self._binding else -math.inf
                null = null.advance(floor, top, time, t[look + 1])
            if lower_increments is not None:
                joint = joint.advance(float(lower[look]), top, time, t[look + 1], mean)
        return upper, lower
