"""Direct links between discrete columns, for dependence that no Gaussian copula can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.columns import Array, Covariate
from trialsim.cohort.fitted.dependence import Dependence, GaussianFactors
from trialsim.cohort.fitted.dependence.pairs import PairStatistics
from trialsim.cohort.fitted.margins import Margin, Scores, SteppedMargin, fit_smooth, fit_stepped, parent_cell

TOLERANCE = 0.035  # error of a correlation of levels that is left to the copula
MOST_PARENTS = 4
MOST_LINKS = 12
DRAWS = 60_000


class Baseline:
    """The margins and scores of the covariates that are not rules, given the links found so far."""

    def __init__(self, covariates: Sequence[Covariate]):
        self.covariates = tuple(covariates)
        self.free = tuple(covariate for covariate in covariates if covariate.rule is None)
        self._by_name = {covariate.name: covariate for covariate in covariates}
        self._smooth = {
            covariate.name: fit_smooth(covariate.column, gate=covariate.gate, atoms=covariate.atoms) for covariate in self.free if covariate.kind == "smooth"
        }
        self.links: dict[str, list[str]] = {}
        self.margins: list[Margin] = []
        self.scores: list[Scores] = []
        self.refresh()

    def refresh(self) -> None:
        """Margins and scores with the present links."""
        fitted = [self._smooth[c.name] if c.kind == "smooth" else fit_stepped(c.column, c.values, self._parents(c.name)) for c in self.free]
        self.margins, self.scores = [margin for margin, _ in fitted], [score for _, score in fitted]

    def _parents(self, name: str) -> Mapping[str, tuple[Array, int]]:
        return {parent: (self._by_name[parent].column, len(self._by_name[parent].values)) for parent in self.links.get(name, ())}

    def held_uncorrelated(self) -> set[tuple[int, int]]:
        """The pairs (places in `free`) whose dependence a link carries; a link to a rule is one to its source."""
        place = {covariate.name: index for index, covariate in enumerate(self.free)}
        found = set()
        for name, parents in self.links.items():
            for parent in parents:
                for source in self._sources(parent):
                    found.add((min(place[name], place[source]), max(place[name], place[source])))
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
        margins = iter(self.margins)
        return tuple(FittedColumn(c.name, c.unit, c.levels, None if c.rule is not None else next(margins), c.rule, c.hidden) for c in self.covariates)

    def find_links(self) -> None:
        """Adds links, the worst first, until correlations between discrete columns are within 0.035 of the data's.

        Two things defeat a Gaussian copula. Pairwise correlations need not fit together: "all haemophiliacs are men",
        "few of them are homosexual" and "all homosexuals are men" ask for a matrix that is not positive definite. And a
        column may hang on another more sharply than a normal dependence can ("nobody who never had a drug had it last
        month"). A link gives the later
        column its own shares at each level of the earlier one. Errors are measured on 60,000 patients drawn with the
        nearest correlation matrix.
        """
        for _ in range(MOST_LINKS):
            pair = self._worst()
            if pair is None:
                return
            parent, child = pair
            self.links.setdefault(child, []).append(parent)
            self.refresh()

    def _worst(self) -> tuple[str, str] | None:
        """(parent, child) of the link that is most needed."""
        if len(self.free) < 2:
            return None
        held = self.held_uncorrelated()
        pairs = PairStatistics(self.scores, held)
        nearest = nearest_correlation(pairs.matrix(pairs.separately()))
        copula = GaussianFactors(
            torch.linalg.cholesky(nearest + 1e-9 * torch.eye(len(nearest), dtype=torch.float64)), torch.zeros(len(nearest), dtype=torch.float64)
        )
        error = correlation_errors(self.covariates, calibrated(self.columns(), copula), copula)
        place = {covariate.name: index for index, covariate in enumerate(self.covariates)}
        free = {covariate.name: index for index, covariate in enumerate(self.free)}
        candidates: list[tuple[float, str, str]] = []
        for child in self.free:
            if child.kind != "stepped" or child.hidden or len(self.links.get(child.name, ())) >= MOST_PARENTS:
                continue
            for parent in self.covariates:
                sources = self._sources(parent.name)
                taken = any((min(free[source], free[child.name]), max(free[source], free[child.name])) in held for source in sources)
                first = parent.hidden or (parent.rule is not None and self._by_name[sources[0]].kind == "smooth")
                earlier = first or free[sources[0]] < free[child.name]
                if parent.kind == "stepped" and child.name not in sources and earlier and not taken:
                    candidates.append((float(error[place[parent.name], place[child.name]]), parent.name, child.name))
        worst = max(candidates, default=(0.0, "", ""))
        return (self._richest(worst[1]), worst[2]) if worst[0] > TOLERANCE else None

    def _richest(self, name: str) -> str:
        """Of the rules that follow from the same column, the one with most levels."""
        rule = self._by_name[name].rule
        if rule is None:
            return name
        alike = [c for c in self.covariates if c.rule is not None and c.rule.source == rule.source]
        return max(alike, key=lambda covariate: len(covariate.values)).name


def correlation_errors(covariates: Sequence[Covariate], columns: Sequence[FittedColumn], dependence: Dependence) -> Array:
    """|correlation among 60,000 drawn patients − correlation in the data| of every pair of columns `[column, column]`."""
    drawn = _draw_scores(columns, dependence, DRAWS, seed=1)
    FittedCohort(columns=tuple(columns), dependence=dependence, events={}, values={}, card={}).from_scores(drawn)
    modelled = np.corrcoef(np.stack([drawn[covariate.name].numpy() for covariate in covariates]))
    observed = np.ma.corrcoef(np.ma.masked_invalid(np.stack([covariate.held() for covariate in covariates]))).filled(0.0)
    return np.asarray(np.nan_to_num(np.abs(modelled - observed)))


def _draw_scores(columns: Sequence[FittedColumn], dependence: Dependence, n: int, *, seed: int) -> dict[str, Tensor]:
    """The normal scores of n patients by column; 0 for rules."""
    generator = torch.Generator().manual_seed(seed)
    scored = sum(column.margin is not None for column in columns)
    factors = torch.randn(dependence.n_factors, n, generator=generator, dtype=torch.float64)
    own = torch.randn(scored, n, generator=generator, dtype=torch.float64)
    dependence.mix(list(own), list(factors))
    rows = iter(own)
    return {column.name: torch.zeros(n, dtype=torch.float64) if column.margin is None else next(rows) for column in columns}


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
    done = list(columns)
    for place, column in enumerate(columns):
        if not isinstance(column.margin, SteppedMargin) or not column.margin.parents:
            continue
        values = {name: score.clone() for name, score in drawn.items()}
        level = FittedCohort(columns=tuple(done), dependence=dependence, events={}, values={}, card={}).from_scores(values)
        cell = parent_cell([level[parent] for parent in column.margin.parents], column.margin.parent_levels)
        thresholds = column.margin.thresholds.clone()
        for index, cuts in enumerate(thresholds):
            within = drawn[column.name][cell == index]
            if len(within) >= 500:
                thresholds[index] = torch.quantile(within, torch.special.ndtr(cuts))
        done[place] = replace(column, margin=replace(column.margin, thresholds=thresholds))
    return tuple(done)
