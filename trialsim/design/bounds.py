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
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trialsim.design.boundary import Boundary
from trialsim.design.choice import Rule
from trialsim.design.futility import FutilityRule, FutilityZ, HazardRatioAbove, SpendingFutility
from trialsim.design.integration import Crossing, crossing_probabilities
from trialsim.design.solver import Solver
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
        total_events = None if events is None else float(events[-1]) / float(t[n_looks - 1])
        constant, drift = _plan(efficacy, futility, alpha, sides, tuple(float(fraction) for fraction in planned), total_events, test_share)
    elif not final and isinstance(efficacy, Boundary) and efficacy.free_everywhere:
        raise ProtocolError(f"the boundary {efficacy.word()} depends on all planned looks; the looks so far do not tell it")
    binding = futility is not None and futility.binding
    upper, lower, at_drift = Solver(efficacy, futility, alpha, sides, t, u, stated, constant).solve(drift)
    floor = -upper if sides == 2 else lower if binding else None
    spent = sides * np.cumsum(crossing_probabilities(information=t, upper=upper, lower=floor).upper)
    t, u, upper, lower, spent = (column[:n_looks] for column in (t, u, upper, lower, spent))
    return Bounds(t, u, upper, lower, spent, alpha, sides, binding, at_drift)


@lru_cache(maxsize=256)
def _plan(
    efficacy: Rule | None,
    futility: FutilityRule | None,
    alpha: float,
    sides: int,
    information: tuple[float, ...],
    total_events: float | None,
    test_share: float | None,
) -> tuple[float | None, float | None]:
    """What the planned looks fix: the constant of a boundary by shape, and the drift of beta spending. `total_events` is at information 1."""
    shape = efficacy if isinstance(efficacy, Boundary) and efficacy.free_everywhere else None
    if shape is None and not (isinstance(futility, SpendingFutility) and futility.beta is not None):
        return None, None
    t = np.array(information)
    floors = _stated_futility(futility, t, None if total_events is None else total_events * t, test_share)
    upper, _, drift = Solver(efficacy, futility, alpha, sides, t, np.append(t[:-1], 1.0), floors, None).solve(None)
    constant = None if shape is None else float(upper[0] / shape.critical_z(1.0, t, sides)[0])
    return constant, None if math.isnan(drift) else drift


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
