"""The efficacy and futility bounds of a group sequential test on the z scale.

Efficacy is solved under the null hypothesis, look by look from a spending function or by the one free constant of a
boundary, so that the probability of ever crossing is alpha. A binding futility rule is taken into account (the lower
bound of each look is in force when the next efficacy bound is solved); a non-binding one is ignored. Beta spending is
solved at the drift where the test, both bounds obeyed, has power 1 − beta; the final lower bound is then the efficacy
bound. Two-sided tests are symmetric: each side spends alpha / 2, with both bounds in force.

**Source**: Jennison & Turnbull 2000, chapters 2, 4, 7 and 19; Lan & DeMets 1983, doi 10.1093/biomet/70.3.659;
Pampallona, Tsiatis & Kim 2001, doi 10.1177/009286150103500408; Anderson & Clark 2010, doi 10.1002/sim.3737.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from trialsim.design.boundary import Boundary
from trialsim.design.choice import Rule
from trialsim.design.futility import FutilityRule, FutilityZ, HazardRatioAbove, SpendingFutility
from trialsim.design.integration import Continuing, Crossing, crossing_probabilities
from trialsim.design.spending import SpendingLaw
from trialsim.errors import NotSupportedError, ProtocolError

Vector = NDArray[np.float64]
CLOSEST = 1e-6  # looks closer than this share of the information are refused


@dataclass(frozen=True, slots=True)
class Bounds:
    """What each look is held against, `[look]`; NaN where there is no bound.

    `efficacy_z`: reject where z reaches it. `futility_z`: stop where z is below it; at the final look, where there is
    futility, it is what separates rejection from failure (or the last spent lower bound). `cumulative_alpha` is the
    probability, under the null and with non-binding futility ignored, of having rejected by each look, over all sides.
    `drift` is the expected z at information 1 at which beta spending was solved, else NaN.
    """

    information: Vector
    spending_time: Vector
    efficacy_z: Vector
    futility_z: Vector
    cumulative_alpha: Vector
    alpha: float
    sides: int
    binding: bool
    drift: float

    def first(self, n_looks: int) -> Bounds:
        """The bounds of the first looks."""
        return replace(
            self,
            information=self.information[:n_looks],
            spending_time=self.spending_time[:n_looks],
            efficacy_z=self.efficacy_z[:n_looks],
            futility_z=self.futility_z[:n_looks],
            cumulative_alpha=self.cumulative_alpha[:n_looks],
        )

    def crossing(self, *, drift: float = 0.0, mean_z: Sequence[float] | Vector | None = None, ignore_futility: bool = False) -> Crossing:
        """Crossing probabilities at an effect. `lower` is the futility bound, or the opposite side of a two-sided test.

        At the final look `lower` is not a decision for one-sided tests with beta spending: it is the rest.
        """
        lower = -self.efficacy_z if self.sides == 2 else np.full_like(self.futility_z, np.nan) if ignore_futility else self.futility_z
        return crossing_probabilities(information=self.information, upper=self.efficacy_z, lower=lower, drift=drift, mean_z=mean_z)

    def power(self, *, drift: float = 0.0, mean_z: Sequence[float] | Vector | None = None) -> float:
        """The probability of rejecting: in favour of the test arm, futility obeyed; in either direction if two-sided."""
        crossing = self.crossing(drift=drift, mean_z=mean_z)
        return float(crossing.upper.sum() + (crossing.lower.sum() if self.sides == 2 else 0.0))


def bounds(
    *,
    efficacy: Rule | None,
    futility: FutilityRule | None,
    alpha: float,
    sides: int,
    information: Sequence[float] | Vector,
    spending_time: Sequence[float] | Vector | None = None,
    final: bool = True,
    planned: Sequence[float] | Vector | None = None,
    events: Sequence[float] | Vector | None = None,
    test_share: float | None = None,
) -> Bounds:
    """The bounds of a group sequential test at its looks.

    `alpha` is total over `sides` (1 or 2). `information` `[look]` increases and gives the covariances, of which only
    ratios matter: the last may be below 1 where a trial ended early. `spending_time` `[look]` are the arguments of the
    spending functions, `information` by default. `final`: the last of these looks is the trial's last, which spends all
    that remains, whatever its spending time; false for the looks so far of a trial that goes on.

    `planned` `[planned look]` are the information fractions as planned, where `information` is what came about. They
    fix what a plan fixes: the constant of a boundary by shape (the last look is then solved for the alpha that is left)
    and the drift of beta spending. Without them the looks given are the plan.

    `events` `[look]` and `test_share` (of the randomised, in the test arm) are needed for hazard-ratio futility only:
    without them its bounds are NaN, and a binding rule is refused.

        >>> from trialsim.design.boundary import Pocock
        >>> bounds(efficacy=Pocock(boundary="pocock"), futility=None, alpha=0.05, sides=2, information=[0.5, 1]).efficacy_z.round(4).tolist()
        [2.1783, 2.1783]

    Raises `NotSupportedError` for rules the engine cannot run yet and `ProtocolError` for rules that contradict alpha.
    """
    t = np.array(information, dtype=np.float64)
    u = np.clip(np.array(t if spending_time is None else spending_time, dtype=np.float64), 0.0, 1.0)
    if np.any(np.diff(t, prepend=0.0) < CLOSEST * t):
        raise ProtocolError(f"the information at looks must increase, given {t.tolist()}")
    missing = [phrase for rule in (efficacy, futility) if rule is not None for phrase in rule.unsupported()]
    if futility is not None and sides == 2:
        missing.append("futility with sides: 2")
    if missing:
        raise NotSupportedError(missing)
    n_looks = len(t)
    if final:
        u[-1] = 1.0
    else:  # a look to come, at which the rest is spent; its bounds are dropped
        t, u = np.append(t, max(1.0, 1.25 * t[-1])), np.append(u, 1.0)
    stated = _stated_futility(futility, t, events, test_share)
    constant = drift = None
    if planned is not None:
        constant, drift = _plan(efficacy, futility, alpha, sides, tuple(float(fraction) for fraction in planned), tuple(stated.tolist()))
    elif not final and isinstance(efficacy, Boundary) and efficacy.free_everywhere:
        raise ProtocolError(f"the boundary {efficacy.word()} depends on all planned looks; the looks so far do not tell it")
    solved = _Solver(efficacy, futility, alpha, sides, t, u, stated, constant).solve(drift)
    return solved if final else solved.first(n_looks)


@lru_cache(maxsize=256)
def _plan(
    efficacy: Rule | None, futility: FutilityRule | None, alpha: float, sides: int, information: tuple[float, ...], stated: tuple[float, ...]
) -> tuple[float | None, float | None]:
    """What the planned looks fix: the constant of a boundary by shape, and the drift of beta spending."""
    t = np.array(information)
    floors = np.resize(np.append(stated[: len(t) - 1], np.full(len(t), np.nan)), len(t))
    u = np.append(t[:-1], 1.0)
    plan = _Solver(efficacy, futility, alpha, sides, t, u, floors, None).solve(None)
    by_shape = isinstance(efficacy, Boundary) and efficacy.free_everywhere
    constant = float(plan.efficacy_z[0] / efficacy.critical_z(1.0, t, sides)[0]) if isinstance(efficacy, Boundary) and by_shape else None
    return constant, None if math.isnan(plan.drift) else plan.drift


def _stated_futility(futility: FutilityRule | None, information: Vector, events: Sequence[float] | Vector | None, test_share: float | None) -> Vector:
    """The lower bounds that are given rather than solved, `[look]`; NaN elsewhere."""
    stated = np.full(len(information), np.nan)
    interims = len(information) - 1
    if isinstance(futility, FutilityZ):
        values = [math.nan if z is None else z for z in futility.z]
    elif isinstance(futility, HazardRatioAbove):
        if events is None or test_share is None:
            if futility.binding:
                raise ProtocolError("futility hazard_ratio_above with binding: true needs the number of events at each look")
            return stated
        values = futility.approximate_z([float(d) for d in events], test_share)
    else:
        return stated
    stated[: min(interims, len(values))] = values[:interims]
    return stated


@dataclass(frozen=True)
class _Solver:
    efficacy: Rule | None
    futility: FutilityRule | None
    alpha: float
    sides: int
    information: Vector
    spending_time: Vector
    stated: Vector
    constant: float | None

    def solve(self, planned_drift: float | None) -> Bounds:
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
        floor = -upper if self.sides == 2 else lower if self._binding else None
        rejected = crossing_probabilities(information=self.information, upper=upper, lower=floor).upper
        return Bounds(self.information, self.spending_time, upper, lower, np.cumsum(rejected) * self.sides, self.alpha, self.sides, self._binding, drift)

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
