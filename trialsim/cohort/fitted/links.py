"""Direct links between discrete columns, for dependence that no Gaussian copula can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.columns import MISSING, Array, Covariate
from trialsim.cohort.fitted.dependence import Dependence, GaussianFactors
from trialsim.cohort.fitted.dependence.pairs import Memo, PairStatistics
from trialsim.cohort.fitted.margins import Margin, Scores, SteppedMargin, fit_smooth, fit_stepped, parent_cell

TOLERANCE, STANDARD_ERRORS = 0.035, 1.6  # error of a correlation of levels that is left to the copula: the larger of the two
MOST_PARENTS = 4
MOST_LINKS = 12
DRAWS = 60_000
SEARCH_DRAWS = 30_000  # the Monte Carlo error of a correlation is then 0.006


class Baseline:
    """The margins and scores of the covariates that are not rules, given the links found so far.

    `free` are those in the dependence, in order; a column `alone` is independent of all others. Companions of the `arm`
    are linked to it from the start.
    """

    def __init__(self, covariates: Sequence[Covariate], *, arm: str | None = None, alone: Collection[str] = ()):
        self.covariates = tuple(covariates)
        self.free = tuple(covariate for covariate in covariates if covariate.rule is None and covariate.name not in alone)
        self._by_name = {covariate.name: covariate for covariate in covariates}
        self._alone = {c.name: fit_stepped(c.column, c.values)[0] for c in covariates if c.rule is None and c.name in alone}
        self._fitted: dict[str, tuple[Margin, Scores]] = {c.name: fit_smooth(c.column, gate=c.gate, atoms=c.atoms) for c in self.free if c.kind == "smooth"}
        self.links: dict[str, list[str]] = {c.name: [arm] for c in self.free if c.part == "companion" and arm is not None}
        self._memo: Memo = {}
        for covariate in self.free:
            if covariate.kind == "stepped":
                self._refit(covariate)

    def _refit(self, covariate: Covariate) -> None:
        """The margin and scores of a stepped column with its present links."""
        parents = {parent: (self._by_name[parent].column, len(self._by_name[parent].values)) for parent in self.links.get(covariate.name, ())}
        self._fitted[covariate.name] = fit_stepped(covariate.column, covariate.values, parents, shrunk=covariate.part != "companion")

    @property
    def margins(self) -> list[Margin]:
        """The margin of each free column."""
        return [self._fitted[covariate.name][0] for covariate in self.free]

    @property
    def scores(self) -> list[Scores]:
        """The scores of each free column."""
        return [self._fitted[covariate.name][1] for covariate in self.free]

    def held_uncorrelated(self) -> set[tuple[int, int]]:
        """The pairs (places in `free`) whose scores are held uncorrelated.

        Those whose dependence a link carries (a link to a rule is one to its source), and a covariate with its own missing
        cells, of which no data say how they go together.
        """
        place = {covariate.name: index for index, covariate in enumerate(self.free)}
        found = set()
        for name, parents in self.links.items():
            for parent in parents:
                for source in self._sources(parent):
                    if source in place:
                        found.add((min(place[name], place[source]), max(place[name], place[source])))
        for covariate in self.free:
            gone = place.get(covariate.name + MISSING)
            for name in (covariate.name, covariate.gate):
                if gone is not None and name:
                    found.add((min(place[name], gone), max(place[name], gone)))
        return found

    def _sources(self, parent: str) -> tuple[str, ...]:
        """The columns with scores that a parent is made of: itself, or its rule's source and that one's gate."""
        rule = self._by_name[parent].rule
        if rule is None:
            return (parent,)
        gate = self._by_name[rule.source].gate
        return (rule.source, gate) if gate else (rule.source,)

    def columns(self) -> tuple[FittedColumn, ...]:
        """Every covariate with its margin or its rule."""
        margins = {**self._alone, **dict(zip((c.name for c in self.free), self.margins, strict=True))}
        return tuple(FittedColumn(c.name, c.unit, c.levels, margins.get(c.name), c.rule, c.part, c.name in self._alone) for c in self.covariates)

    def find_links(self) -> None:
        """Adds links, the worst first, until correlations between discrete columns are within 0.035 of the data's, or within 1.6 / √n.

        Two things defeat a Gaussian copula. Pairwise correlations need not fit together: "all haemophiliacs are men",
        "few of them are homosexual" and "all homosexuals are men" ask for a matrix that is not positive definite. And a
        column may hang on another more sharply than a normal dependence can ("nobody who never had a drug had it last
        month"). A link gives the later
        column its own shares at each level of the earlier one. Errors are measured on 30,000 patients drawn with the
        nearest correlation matrix.
        """
        for _ in range(MOST_LINKS):
            pair = self._worst()
            if pair is None:
                return
            parent, child = pair
            self.links.setdefault(child, []).append(parent)
            self._refit(self._by_name[child])

    def _worst(self) -> tuple[str, str] | None:
        """(parent, child) of the link that is most needed."""
        if len(self.free) < 2:
            return None
        held = self.held_uncorrelated()
        pairs = PairStatistics(self.scores, held, self._memo)
        nearest = nearest_correlation(pairs.matrix(pairs.separately()))
        copula = GaussianFactors(
            torch.linalg.cholesky(nearest + 1e-9 * torch.eye(len(nearest), dtype=torch.float64)), torch.zeros(len(nearest), dtype=torch.float64)
        )
        error = correlation_errors(self.covariates, calibrated(self.columns(), copula, n=SEARCH_DRAWS), copula, n=SEARCH_DRAWS)
        place = {covariate.name: index for index, covariate in enumerate(self.covariates)}
        free = {covariate.name: index for index, covariate in enumerate(self.free)}
        candidates: list[tuple[float, str, str]] = []
        for child in self.free:
            if child.kind != "stepped" or child.part in ("gate", "companion") or len(self.links.get(child.name, ())) >= MOST_PARENTS:
                continue
            for parent in self.covariates:
                sources = self._sources(parent.name)
                if any(source not in free for source in sources):
                    continue
                taken = any((min(free[source], free[child.name]), max(free[source], free[child.name])) in held for source in sources)
                first = parent.part == "gate" or (parent.rule is not None and self._by_name[sources[0]].kind == "smooth")
                earlier = first or free[sources[0]] < free[child.name]
                if parent.kind == "stepped" and child.name not in sources and earlier and not taken:
                    candidates.append((float(error[place[parent.name], place[child.name]]), parent.name, child.name))
        worst = max(candidates, default=(0.0, "", ""))
        left = max(TOLERANCE, STANDARD_ERRORS / np.sqrt(len(self.free[0].column)))  # closer would be the data's own noise
        return (self._richest(worst[1]), worst[2]) if worst[0] > left else None

    def _richest(self, name: str) -> str:
        """Of the rules that follow from the same column, the one with most levels."""
        rule = self._by_name[name].rule
        if rule is None:
            return name
        alike = [c for c in self.covariates if c.rule is not None and c.rule.source == rule.source]
        return max(alike, key=lambda covariate: len(covariate.values)).name


def correlation_errors(covariates: Sequence[Covariate], columns: Sequence[FittedColumn], dependence: Dependence, *, n: int = DRAWS) -> Array:
    """|correlation among n drawn patients − correlation in the data| of every pair of columns `[column, column]`.

    A category of more than two levels is as many indicators; its error is the largest of theirs.
    """
    drawn = _draw_scores(columns, dependence, n, seed=1)
    FittedCohort(columns=tuple(columns), dependence=dependence, card={}).from_scores(drawn)
    modelled = np.corrcoef(np.concatenate([_coded(covariate, drawn[covariate.name].numpy()) for covariate in covariates]))
    observed = np.ma.corrcoef(np.ma.masked_invalid(np.concatenate([_coded(covariate, covariate.held()) for covariate in covariates]))).filled(0.0)
    first = np.cumsum([0, *(len(_coded(covariate, np.empty(0))) for covariate in covariates[:-1])])
    error = np.maximum.reduceat(np.maximum.reduceat(np.atleast_2d(np.nan_to_num(np.abs(modelled - observed))), first, axis=0), first, axis=1)
    np.fill_diagonal(error, 0.0)
    return np.asarray(error)


def _coded(covariate: Covariate, column: Array) -> Array:
    """`[code, patient]`: a number as it is, a category of more than two levels as indicators, NaN where missing."""
    if covariate.is_number:
        return column[None]
    return np.where(np.isnan(column), np.nan, column == covariate.values[:, None])


def _draw_scores(columns: Sequence[FittedColumn], dependence: Dependence, n: int, *, seed: int) -> dict[str, Tensor]:
    """The normal scores of n patients by column; 0 for rules."""
    generator = torch.Generator().manual_seed(seed)
    scored = sum(column.margin is not None and not column.alone for column in columns)
    factors = torch.randn(dependence.n_factors, n, generator=generator, dtype=torch.float64)
    own = torch.randn(scored, n, generator=generator, dtype=torch.float64)
    dependence.mix(list(own), list(factors))
    rows = iter(own)
    found = {column.name: torch.zeros(n, dtype=torch.float64) if column.margin is None or column.alone else next(rows) for column in columns}
    alone = {column.name: torch.randn(n, generator=generator, dtype=torch.float64) for column in columns if column.alone}
    return found | alone


def nearest_correlation(matrix: Tensor) -> Tensor:
    """The nearest correlation matrix with eigenvalues of at least 0.02, by Dykstra's alternating projections.

    **Source:** Higham 2002, IMA J Numer Anal 22:329, doi 10.1093/imanum/22.3.329.
    """
    nearest, correction = matrix.clone(), torch.zeros_like(matrix)
    for _ in range(100):
        values, vectors = torch.linalg.eigh(nearest - correction)
        projected = vectors @ torch.diag(values.clamp(min=0.02)) @ vectors.T
        correction = projected - (nearest - correction)
        nearest = projected.clone()
        nearest.fill_diagonal_(1.0)
    return projected / torch.outer(projected.diagonal().sqrt(), projected.diagonal().sqrt())


def calibrated(columns: Sequence[FittedColumn], dependence: Dependence, *, n: int = DRAWS) -> tuple[FittedColumn, ...]:
    """The columns with the thresholds of linked ones moved, so that each has its own shares at every level of its parents.

    Shares were turned into thresholds as if a score were standard normal at every level of the parents. It is not quite:
    scores of columns between them are correlated. So thresholds become quantiles of the score among n drawn
    patients, parents before children; combinations with fewer than 500 of them are left.
    """
    drawn = _draw_scores(columns, dependence, n, seed=2)
    done = {column.name: column for column in columns}
    for column in FittedCohort(columns=tuple(columns), dependence=dependence, card={}).plan:
        if not isinstance(column.margin, SteppedMargin) or not column.margin.parents:
            continue
        needed = _ancestors(done, column.margin.parents)
        values = {name: drawn[name].clone() for name in needed}
        level = FittedCohort(columns=tuple(done[name] for name in needed), dependence=dependence, card={}).from_scores(values)
        cell = parent_cell([level[parent] for parent in column.margin.parents], column.margin.parent_levels)
        thresholds = column.margin.thresholds.clone()
        for index, cuts in enumerate(thresholds):
            within = drawn[column.name][cell == index]
            if len(within) >= 500:
                finite = torch.isfinite(cuts)  # a level that never occurs stays so
                thresholds[index, finite] = torch.quantile(within, torch.special.ndtr(cuts[finite]))
        done[column.name] = replace(column, margin=replace(column.margin, thresholds=thresholds))
    return tuple(done[column.name] for column in columns)


def _ancestors(columns: Mapping[str, FittedColumn], names: Sequence[str]) -> list[str]:
    """These columns and all that they hang on, each once."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += columns[name].hangs_on
    return list(found)
