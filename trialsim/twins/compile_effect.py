"""From declared effects to what the kernels use: steps in time, categories, differences at a visit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from trialsim.twins.arm_table import ByCategory
from trialsim.twins.effects import ByCovariate, CovariateValues, Effect
from trialsim.twins.event_time import NO_EFFECT, HazardRatio
from trialsim.twins.parametrisation import merge_pieces
from trialsim.twins.trajectory import NO_SLOWING, Slowing
from trialsim.twins.visit_value import NO_DIFFERENCE, MeanDifference


def _categories(by: CovariateValues, levels: Mapping[str, tuple[str, ...]], neutral: float) -> ByCategory | None:
    """Codes and values of the categories with an effect; None where no category has one."""
    known = levels.get(by.covariate)
    pairs = [(float(known.index(level) if known is not None else level), value) for level, value in by.values.items() if value != neutral]
    pairs.sort()
    return ByCategory(by.covariate, tuple(code for code, _ in pairs), tuple(value for _, value in pairs)) if pairs else None


def hazard_ratio(effect: Effect | None, *, levels: Mapping[str, tuple[str, ...]], fitted_log_hr: float = 0.0) -> HazardRatio:
    """The hazard ratio that an effect on an event time declares; equal effects give equal results."""
    if effect is None:
        return NO_EFFECT
    if effect.fitted is not None:
        return HazardRatio(ratios=(math.exp(effect.fitted * fitted_log_hr),))
    profile = effect.profile
    if isinstance(profile, ByCovariate):
        return HazardRatio(by=_categories(profile.by, levels, neutral=1.0))
    if isinstance(profile, tuple):
        return HazardRatio(*merge_pieces([piece.until for piece in profile], [piece.value for piece in profile]))
    return HazardRatio(ratios=(float(profile),))


def predictor_shift(
    effect: Effect | None, *, visit: str, day: float, levels: Mapping[str, tuple[str, ...]], of: Callable[[str, float], float] = lambda kind, value: value
) -> MeanDifference:
    """What an effect adds to a linear predictor at a visit; `of(kind, value)` turns a declared number into it (and no effect into 0).

    Pieces in time and visits are taken as in `mean_difference`.
    """
    if effect is None:
        return NO_DIFFERENCE
    profile, kind = effect.profile, effect.kind
    if isinstance(profile, ByCovariate):
        shifts = CovariateValues(covariate=profile.by.covariate, values={level: of(kind, value) for level, value in profile.by.values.items()})
        return MeanDifference(by=_categories(shifts, levels, neutral=0.0))
    if isinstance(profile, tuple):
        return MeanDifference(of(kind, next(piece.value for piece in profile if piece.until is None or day < piece.until)))
    if isinstance(profile, Mapping):
        return MeanDifference(of(kind, float(profile[visit]))) if visit in profile else NO_DIFFERENCE
    return MeanDifference(of(kind, float(profile)))


def slowing(effect: Effect | None) -> Slowing:
    """By how much, and from when on, an effect slows a trajectory."""
    if effect is None or not effect.percent_slowing:
        return NO_SLOWING
    return Slowing(effect.percent_slowing, effect.onset or 0.0)


def mean_difference(effect: Effect | None, *, visit: str, day: float, levels: Mapping[str, tuple[str, ...]], fitted_difference: float = 0.0) -> MeanDifference:
    """The difference that an effect on a value declares at a visit. A piece that ends on the visit's day does not hold there; visits not named have none."""
    if effect is None:
        return NO_DIFFERENCE
    if effect.fitted is not None:
        return MeanDifference(effect.fitted * fitted_difference + 0.0)
    profile = effect.profile
    if isinstance(profile, ByCovariate):
        return MeanDifference(by=_categories(profile.by, levels, neutral=0.0))
    if isinstance(profile, tuple):
        return MeanDifference(next(piece.value for piece in profile if piece.until is None or day < piece.until))
    return MeanDifference(float(profile.get(visit, 0.0)) if isinstance(profile, Mapping) else float(profile))
