"""Drawing eligible patients directly: criteria become truncated scores, so that rare patients need no long rejection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtr
from torch import Tensor

from trialsim.cohort.eligibility import Eligibility, eligible
from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.dependence import Dependence, GaussianFactors
from trialsim.cohort.fitted.dependence.pairs import orthant
from trialsim.cohort.fitted.margins import EDGE, POINTS, SmoothMargin, SteppedMargin
from trialsim.cohort.fitted.rules import Copy, Rule
from trialsim.cohort.model import CohortModel
from trialsim.errors import DataError
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

Intervals = tuple[tuple[float, float], ...]
"""Disjoint intervals of a score, in order."""

NARROW_BELOW = 0.05
"""Where fewer patients than this are eligible, rejection from all of them is slow (at 0.2 %, minutes for a block of 64 trials)."""

_FAR = 9.0


@dataclass(frozen=True, slots=True)
class Truncation:
    """A column's score may lie in `intervals` only: what the criteria `criteria` on it, or on rules of it, ask for."""

    column: str
    place: int
    intervals: Intervals
    criteria: tuple[str, ...]

    @property
    def probability(self) -> float:
        """The share of patients with such a score."""
        return sum(_mass(low, high) for low, high in self.intervals)


@dataclass(frozen=True)
class TruncatedDependence:
    """A Gaussian copula given that the scores of some columns lie in intervals: exact for one column.

    With Z⁰ an ordinary draw, J the truncated columns, L L' = R_JJ, and t an increasing map from a standard normal to a truncated one,

        Z_J = L η,  η_i = t_i(η⁰_i),  η⁰ = L⁻¹ Z⁰_J,        Z = Z⁰ + R_·J R_JJ⁻¹ (Z_J − Z⁰_J):

    what is left of the other columns, Z⁰ − R_·J R_JJ⁻¹ Z⁰_J, is independent of Z⁰_J. So a patient takes the same numbers as
    without criteria, and only those. t_i truncates to the intervals given η_1 … η_{i−1}; for several columns the
    product of the probabilities of these is the weight that a draw must be given (GHK).

    **Source:** Doucet 2010, A note on efficient conditional simulation of Gaussian distributions (Matheron's rule);
    Hajivassiliou, McFadden & Ruud 1996, J Econometrics 72:85, doi 10.1016/0304-4076(94)01716-6.
    """

    kind: ClassVar[str] = "truncated"
    inner: GaussianFactors
    places: tuple[int, ...]
    intervals: tuple[Intervals, ...]

    @property
    def n_factors(self) -> int:
        """As many as the copula needs."""
        return self.inner.n_factors

    @cached_property
    def _chain(self) -> list[list[float]]:
        places = list(self.places)
        return [[float(x) for x in row] for row in torch.linalg.cholesky(self.inner.correlation()[places][:, places])]

    @cached_property
    def _regression(self) -> list[list[float]]:
        """R_·J R_JJ⁻¹ `[column, truncated column]`."""
        places, correlation = list(self.places), self.inner.correlation()
        return [[float(x) for x in row] for row in torch.linalg.solve(correlation[places][:, places], correlation[places]).T]

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns independent normals into scores, in place."""
        self.inner.mix(own, factors)
        self.truncate(own)

    def truncate(self, scores: Sequence[Float[Tensor, "*shape"]]) -> Float[Tensor, "*shape"]:
        """Turns ordinary scores into truncated ones, in place; returns the weight."""
        before = [scores[place].clone() for place in self.places]
        weight = torch.ones_like(before[0])
        free: list[Tensor] = []
        bound: list[Tensor] = []
        after: list[Tensor] = []
        for row, (z, intervals) in enumerate(zip(before, self.intervals, strict=True)):
            weights, diagonal = self._chain[row][:row], self._chain[row][row]
            eta, mean = z.clone(), torch.zeros_like(z)
            for one, two, slope in zip(free, bound, weights, strict=True):
                eta.sub_(one * slope)
                mean.add_(two * slope)
            free.append(eta.div_(diagonal))
            drawn, mass = truncated_normal(free[-1], [((low - mean) / diagonal, (high - mean) / diagonal) for low, high in intervals])
            weight *= mass
            bound.append(drawn)
            after.append(mean.add_(drawn * diagonal))
        shifts = [one - two for one, two in zip(after, before, strict=True)]
        for column, (score, slopes) in enumerate(zip(scores, self._regression, strict=True)):
            if column in self.places:
                score.copy_(after[self.places.index(column)])
                continue
            for shift, slope in zip(shifts, slopes, strict=True):
                if slope != 0.0:
                    score.add_(shift, alpha=slope)
        return weight

    def marginal(self, kept: Sequence[int]) -> TruncatedDependence:
        """The dependence of some of the columns, among which must be the truncated ones."""
        return TruncatedDependence(self.inner.marginal(kept), tuple(list(kept).index(place) for place in self.places), self.intervals)

    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the copula."""
        return self.inner.tensors()

    def options(self) -> Mapping[str, Any]:
        """The places and the intervals."""
        return {"places": list(self.places), "intervals": [[list(interval) for interval in intervals] for intervals in self.intervals]}

    @classmethod
    def fit(cls, *_: Any, **__: Any) -> TruncatedDependence:
        """It follows from a copula and criteria, never from data."""
        raise NotImplementedError

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> TruncatedDependence:
        """The copula with these loadings, truncated."""
        intervals = tuple(tuple((low, high) for low, high in each) for each in options["intervals"])
        return cls(GaussianFactors.of(tensors, {}), tuple(options["places"]), intervals)


def truncated_normal(
    z: Float[Tensor, "*shape"], intervals: Sequence[tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """A standard normal within a union of intervals, as an increasing function of the standard normal `z`; and their probability.

    t(z) = F⁻¹(Φ(z)) with F the truncated distribution function, from the nearer tail, so that an interval far out keeps
    its digits. The intervals are in order and do not overlap; those of a patient may be empty (low ≥ high).
    """
    masses = [_tail_mass(low, high) for low, high in intervals]
    total = torch.zeros_like(z)
    for mass in masses:
        total = total + mass
    u, left = torch.special.ndtr(z) * total, torch.special.ndtr(-z) * total  # below and above the wanted point
    out = torch.zeros_like(z)
    before = torch.zeros_like(z)
    for place, ((low, high), mass) in enumerate(zip(intervals, masses, strict=True)):
        after = torch.zeros_like(z)
        for later in masses[place + 1 :]:
            after = after + later
        from_low = torch.special.ndtri((torch.special.ndtr(low) + (u - before).clamp(min=0.0)).clamp(max=1.0))
        from_high = -torch.special.ndtri((torch.special.ndtr(-high) + (left - after).clamp(min=0.0)).clamp(max=1.0))
        point = torch.where(low > -high, from_high, from_low)
        point = torch.minimum(torch.maximum(point, low), high)
        out = torch.where((u >= before) & (mass > 0), point, out)
        before = before + mass
    return out, total


def _tail_mass(low: Tensor, high: Tensor) -> Tensor:
    above = low > 0
    a, b = torch.where(above, -high, low), torch.where(above, -low, high)
    return (torch.special.ndtr(b) - torch.special.ndtr(a)).clamp(min=0.0)


def _mass(low: float, high: float) -> float:
    return float(ndtr(-low) - ndtr(-high)) if low > 0 else float(ndtr(high) - ndtr(low))


def truncations(model: FittedCohort, eligibility: Eligibility) -> tuple[Truncation, ...]:
    """What criteria mean for scores, for every column where they mean intervals of its score.

    Such are smooth columns without atoms and stepped ones without links, and what a rule makes of them. Criteria on
    other columns (with atoms, with links, independent of all others) are left to rejection.
    """
    scored = [column for column in model.columns if column.margin is not None and not column.alone]
    found: list[Truncation] = []
    for place, column in enumerate(scored):
        plain = not column.margin.gate if isinstance(column.margin, SmoothMargin) else not column.margin.parents if column.margin is not None else False
        followers = {other.name: other for other in model.columns if other.rule is not None and other.rule.source == column.name}
        criteria = {key: criterion for key, criterion in eligibility.items() if criterion.covariate == column.name or criterion.covariate in followers}
        if plain and criteria:
            found.append(Truncation(column.name, place, _intervals(column, followers, criteria, model), tuple(criteria)))
    return tuple(found)


def _intervals(column: FittedColumn, followers: Mapping[str, FittedColumn], criteria: Eligibility, model: FittedCohort) -> Intervals:
    """The intervals of the score that all `criteria` admit, each tried at a point within."""
    margin = column.margin
    if isinstance(margin, SteppedMargin):
        cuts = margin.thresholds[0].numpy()
    else:
        assert isinstance(margin, SmoothMargin)
        bounds = [bound for criterion in criteria.values() for bound in _bounds(criterion.covariate, criterion.min, criterion.max, followers)]
        bounds += [cut for other in followers.values() if isinstance(other.rule, Rule) for cut in other.rule.cuts]
        table = margin.table.numpy()
        within = [bound for bound in bounds if table[0] < bound < table[-1]]
        cuts = np.interp(np.unique(np.array(within)), table, np.linspace(-EDGE, EDGE, POINTS))
    ends = np.concatenate(([-np.inf], np.unique(cuts), [np.inf]))
    middle = np.clip(ends, -_FAR, _FAR)
    z = torch.from_numpy((middle[:-1] + middle[1:]) / 2)[None]
    values = {column.name: z.clone(), **{name: torch.zeros_like(z) for name in followers}}
    model.from_scores(values, [column, *followers.values()])
    admitted = eligible(criteria, Cohort(columns=values, levels=model.levels))[0].tolist()
    found: list[tuple[float, float]] = []
    for low, high, is_in in zip(ends[:-1].tolist(), ends[1:].tolist(), admitted, strict=True):
        if is_in and found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        elif is_in:
            found.append((low, high))
    return tuple(found)


def _bounds(covariate: str, low: Any, high: Any, followers: Mapping[str, FittedColumn]) -> list[float]:
    """The bounds of a criterion, in the source's values where its column is a copy."""
    bounds = [bound.value for bound in (low, high) if bound is not None]
    rule = followers[covariate].rule if covariate in followers else None
    if isinstance(rule, Copy):
        return [(bound - rule.intercept) / rule.slope for bound in bounds]
    return [] if isinstance(rule, Rule) else bounds


def narrowed(model: CohortModel, eligibility: Eligibility) -> tuple[CohortModel, float]:
    """The model given the criteria on its rarest column, and the share of patients who fulfil those; else `model` and 1.

    It is done where that pays: where one column's criteria, or two columns' together, are fulfilled by less than 5 % of
    patients. Other criteria are left to rejection. Only for a Gaussian copula. The shares are exact, so that the choice
    depends on the model and the criteria alone.
    """
    if not isinstance(model, FittedCohort) or not isinstance(model.dependence, GaussianFactors) or not eligibility:
        return model, 1.0
    found = [truncation for truncation in truncations(model, eligibility) if truncation.intervals]
    if not found:
        return model, 1.0
    rarest = min(found, key=lambda truncation: truncation.probability)
    together = min((_joint(model.dependence, one, two) for one, two in combinations(found, 2)), default=1.0)
    if min(rarest.probability, together) >= NARROW_BELOW:
        return model, 1.0
    return given(model, rarest), rarest.probability


def given(model: FittedCohort, truncation: Truncation) -> FittedCohort:
    """The model of the patients with such a score; DataError where its dependence is no Gaussian copula or there are none."""
    if not isinstance(model.dependence, GaussianFactors):
        raise DataError(f'patients are drawn given their "{truncation.column}" from a copula only')
    if not truncation.intervals or truncation.probability == 0.0:
        raise DataError(f'no patient of the model has such a "{truncation.column}"')
    dependence: Dependence = TruncatedDependence(model.dependence, (truncation.place,), (truncation.intervals,))
    return replace(model, dependence=dependence)


def _joint(dependence: GaussianFactors, one: Truncation, two: Truncation) -> float:
    """P(both scores are in their intervals), rectangle by rectangle."""
    r = dependence.correlation()[one.place, two.place].reshape(1)
    total = 0.0
    for a, b in one.intervals:
        for c, d in two.intervals:
            corners = [orthant(torch.tensor([x]).clamp(-_FAR, _FAR).double(), torch.tensor([y]).clamp(-_FAR, _FAR).double(), r) for x in (a, b) for y in (c, d)]
            total += float(corners[3] - corners[1] - corners[2] + corners[0])
    return max(total, 0.0)


@dataclass(frozen=True, slots=True)
class ImportanceDraw:
    """Patients drawn by importance sampling, and how good the draw was.

    `acceptance` is the estimated share of eligible patients with its standard error. `ess` is the effective number of
    candidates among all `n_candidates`, (Σ w)² / Σ w²: where it is small against them, the same few candidates carry the
    weight. `resolution` is the mean effective number of candidates per patient; a patient's law is off by about its inverse.
    """

    cohort: Cohort
    acceptance: float
    acceptance_mcse: float
    ess: float
    n_candidates: int
    resolution: float


def draw_by_importance(model: FittedCohort, eligibility: Eligibility, streams: Streams, block: Block, n: int, *, candidates: int = 64) -> ImportanceDraw:
    """Eligible patients where criteria on several columns are each common and together rare: GHK, then resampling.

    The truncated scores are drawn one after the other given those before (Geweke, Hajivassiliou, Keane); the weight of a
    candidate is the product of the probabilities of its steps, 0 where a criterion that no interval expresses is not
    met. Each patient is one of `candidates` with chances in proportion to their weights, then the other columns follow
    by Matheron's rule. A patient is a function of (seed, replicate, patient) alone. It is exact where one column is truncated
    and up to O(1 / candidates) where several are; a patient none of whose candidates has weight holds NaN. Only for
    a Gaussian copula: DataError for another model, for criteria that no patient meets, and where no criterion is an interval.

    **Source:** Hajivassiliou, McFadden & Ruud 1996, J Econometrics 72:85, doi 10.1016/0304-4076(94)01716-6; Rubin 1988
    (sampling–importance resampling); Kish 1965 (effective sample size).
    """
    if not isinstance(model.dependence, GaussianFactors):
        raise DataError("patients are drawn by importance from a copula only")
    found = sorted(truncations(model, eligibility), key=lambda truncation: truncation.probability)
    for truncation in found:
        given(model, truncation)
    if not found:
        raise DataError("no criterion is about a column whose score can be truncated")
    dependence = TruncatedDependence(model.dependence, tuple(t.place for t in found), tuple(t.intervals for t in found))
    rest = {key: criterion for key, criterion in eligibility.items() if not any(key in truncation.criteria for truncation in found)}
    chosen: dict[str, Tensor] = {}
    sums = torch.zeros(2, block.size, n, dtype=torch.float64)
    for candidate in range(candidates):
        cohort, weight = _propose(model, dependence, streams, block, n, candidate)
        if rest:
            weight = weight * eligible(rest, cohort)
        sums[0] += weight
        sums[1] += weight**2
        take = streams("eligibility/choice").uniform(block, n, index=candidate) * sums[0] < weight
        for name, column in cohort.columns.items():
            before = chosen.get(name, torch.full_like(column, torch.nan))
            chosen[name] = torch.where(take, column, before)
    total, square = float(sums[0].sum()), float(sums[1].sum())
    size = candidates * block.size * n
    mean = total / size
    resolution = torch.where(sums[1] > 0, sums[0] ** 2 / sums[1].clamp(min=1e-300), 0.0)
    return ImportanceDraw(
        cohort=Cohort(columns=chosen, levels=model.levels),
        acceptance=mean,
        acceptance_mcse=math.sqrt(max(square / size - mean**2, 0.0) / size),
        ess=total**2 / square if square else 0.0,
        n_candidates=size,
        resolution=float(resolution.mean()),
    )


def _propose(
    model: FittedCohort, dependence: TruncatedDependence, streams: Streams, block: Block, n: int, candidate: int
) -> tuple[Cohort, Float[Tensor, "replicate patient"]]:
    """One candidate for every patient, and its weight."""
    columns = {
        column.name: torch.zeros(block.size, n, dtype=torch.float64, device=streams.device)
        if column.margin is None
        else streams(f"covariate/{column.name}").normal(block, n, index=candidate)
        for column in model.columns
    }
    scores = [columns[column.name] for column in model.columns if column.margin is not None and not column.alone]
    dependence.inner.mix(scores, [streams(f"covariate/factor.{m}").normal(block, n, index=candidate) for m in range(dependence.n_factors)])
    weight = dependence.truncate(scores)
    model.from_scores(columns)
    return Cohort(columns={name: columns[name] for name in model.names}, levels=model.levels), weight
