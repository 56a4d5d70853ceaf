"""What an outcome's regression sees of a patient's baseline: numbers with a bend, and levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.columns import Array, Covariate
from trialsim.records import Cohort

_KNOT_SHARES = (0.05, 0.35, 0.65, 0.95)
PRIOR_SD = {"linear": 1.0, "bend": 0.5, "level": 1.0, "above": 1.0}
PRIOR_SCALES = (1.0, 0.5, 0.25, 0.15, 0.1, 0.06)


@dataclass(frozen=True, slots=True)
class Term:
    """One column of a design matrix, standardised: (raw − centre) / scale.

    `linear`: the number itself. `bend`: a term of a restricted cubic spline, linear beyond its outer knots, with
    `numbers` = (t_i, t_{k−1}, t_k, range). `level`: 1 at level `numbers[0]`. `above`: 1 above `numbers[0]`, an atom.
    """

    column: str
    kind: Literal["linear", "bend", "level", "above"]
    numbers: tuple[float, ...]
    centre: float
    scale: float

    def raw(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The term before standardising."""
        if self.kind == "linear":
            return x
        if self.kind == "level":
            return (x == self.numbers[0]).to(torch.float64)
        if self.kind == "above":
            return (x > self.numbers[0]).to(torch.float64)
        first, last_but_one, last, width = self.numbers
        gap = last - last_but_one
        total = _cubed(x - first)
        total -= _cubed(x - last_but_one) * ((last - first) / gap)
        total += _cubed(x - last) * ((last_but_one - first) / gap)
        return total.mul_(1.0 / width**2)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Term:
        return cls(**{**given, "numbers": tuple(given["numbers"])})


def _cubed(x: Tensor) -> Tensor:
    positive = x.clamp(min=0.0)
    return positive * positive * positive


def terms_of(covariates: Sequence[Covariate], columns: Mapping[str, Array]) -> tuple[Term, ...]:
    """The terms of every covariate, in order; `columns` are complete (imputed), as a cohort holds them.

    A smooth covariate gives its value and two spline terms (knots at the 5th, 35th, 65th and 95th percentile), and an
    indicator above its atom where it has one; a stepped one its number, or indicators of all levels but the first.
    Terms that repeat an earlier one exactly are left out.

    **Source:** Harrell 2015, Regression Modeling Strategies, section 2.4.5, doi 10.1007/978-3-319-19425-7.
    """
    found: list[Term] = []
    seen: list[Array] = []
    for covariate in covariates:
        column = columns[covariate.name]
        for kind, numbers in _candidates(covariate, column):
            term = Term(covariate.name, kind, numbers, 0.0, 1.0)
            raw = term.raw(torch.from_numpy(column)).numpy()
            centre, scale = float(raw.mean()), float(raw.std())
            if scale <= 1e-9 * max(1.0, abs(centre)):
                continue
            standard = (raw - centre) / scale
            if any(abs(float((standard * other).mean())) > 1 - 1e-9 for other in seen):
                continue
            seen.append(standard)
            found.append(Term(covariate.name, kind, numbers, centre, scale))
    return tuple(found)


def _candidates(covariate: Covariate, column: Array) -> list[tuple[Literal["linear", "bend", "level", "above"], tuple[float, ...]]]:
    if covariate.kind == "stepped":
        if covariate.is_number:
            return [("linear", ())]
        return [("level", (float(level),)) for level in range(1, len(covariate.levels))]
    out: list[tuple[Literal["linear", "bend", "level", "above"], tuple[float, ...]]] = [("linear", ())]
    lowest = float(column.min())
    body = column[column > lowest] if (column == lowest).mean() > 0.03 else column
    if len(body) < len(column):
        out.append(("above", (lowest,)))
    grid = float(np.ptp(body)) / 200 or 1.0
    knots = np.round(np.quantile(body, _KNOT_SHARES) / grid) * grid  # on a grid: no patient's own value is kept
    if (np.diff(knots) > 0).all():
        width = float(knots[-1] - knots[0])
        out += [("bend", (float(knot), float(knots[-2]), float(knots[-1]), width)) for knot in knots[:-2]]
    return out


def design_matrix(terms: Sequence[Term], columns: Mapping[str, Array]) -> Float[Tensor, "patient term"]:
    """The standardised terms of complete columns."""
    if not terms:
        return torch.zeros(len(next(iter(columns.values()), ())), 0, dtype=torch.float64)
    return torch.stack([(term.raw(torch.from_numpy(columns[term.column])) - term.centre) / term.scale for term in terms], dim=1)


def prior_sd(terms: Sequence[Term]) -> Float[Tensor, "term"]:
    """The prior SD of each term's weight, up to a scale that the evidence decides among PRIOR_SCALES."""
    return torch.tensor([PRIOR_SD[term.kind] for term in terms], dtype=torch.float64)


def weigh(terms: Sequence[Term], weights: Sequence[float], cohort: Cohort) -> Float[Tensor, "replicate patient"]:
    """Σ weight · standardised term, added up term by term so that a patient's bits do not depend on the block."""
    constant = -sum(weight * term.centre / term.scale for term, weight in zip(terms, weights, strict=True))
    total = torch.full_like(next(iter(cohort.columns.values())), constant)
    for term, weight in zip(terms, weights, strict=True):
        total.add_(term.raw(cohort.columns[term.column]), alpha=weight / term.scale)
    return total
