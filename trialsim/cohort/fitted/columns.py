"""Which columns of a table a cohort model describes, and how: smooth, stepped, following from another, or left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.units import TIME_UNITS

Array = NDArray[np.float64]

RARE = 5  # a level seen in fewer patients than this is merged or its column left out
MANY = 10  # a numeric column with more distinct values than this is smooth
ATOM_SHARE, ATOM_COUNT = 0.03, 10
_RULE_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class Rule:
    """The column is a step function of another: its level is `levels[k]` where `source` lies between cuts k − 1 and k.

    `values` are what a cohort holds for each level.
    """

    source: str
    cuts: tuple[float, ...]
    levels: tuple[int, ...]
    values: tuple[float, ...]

    def level(self, source: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The level's index, given the source as a cohort holds it."""
        out = torch.full_like(source, float(self.levels[0]))
        for cut, (before, after) in zip(self.cuts, pairwise(self.levels), strict=True):
            out.add_(source > cut, alpha=float(after - before))
        return out


@dataclass(frozen=True, slots=True)
class Covariate:
    """One baseline covariate of the data, in the units of a cohort (times in days).

    `column` `[patient]` holds the value of a smooth covariate and the level's index of a stepped one. `values` are the
    numbers of its levels (the index itself for a category, the number for a score); `levels` their names, empty for a score.

    A smooth covariate with atoms at its ends has a `gate`: a hidden stepped column that comes before it and tells which
    atom a patient is at, or none; `atoms` has a value per level of the gate, NaN for none.
    """

    name: str
    kind: Literal["smooth", "stepped"]
    column: Array
    unit: str
    values: Array
    levels: tuple[str, ...]
    rule: Rule | None = None
    gate: str = ""
    atoms: tuple[float, ...] = ()
    hidden: bool = False

    @property
    def is_number(self) -> bool:
        """Whether a regression may use it as a number (a category with more than two levels may not)."""
        return not self.levels or len(self.levels) == 2

    def held(self) -> Array:
        """The column as a cohort holds it."""
        if self.kind == "smooth":
            return self.column
        known = ~np.isnan(self.column)
        out = np.full(len(self.column), np.nan)
        out[known] = self.values[self.column[known].astype(np.int64)]
        return out


def covariates_of(table: PatientTable, *, rows: NDArray[np.bool_], without: Iterable[str]) -> tuple[tuple[Covariate, ...], dict[str, str]]:
    """The covariates to model, in the file's order, and why each other column is not one.

    A column is a candidate when its role is `covariate` and it is not among `without` (outcomes, the arm). Left out:
    text and dates, columns with no values, and columns that (nearly) never vary. Levels seen in fewer than 5 patients
    join a neighbour. A stepped column that another column determines (at most 1 % exceptions) becomes a rule.
    """
    left_out: dict[str, str] = {}
    found: list[Covariate] = []
    excluded = set(without)
    for name, meaning in table.meaning.items():
        if name in excluded:
            continue
        if meaning.role != "covariate":
            left_out[name] = f"its role is {meaning.role}"
        elif meaning.type in ("text", "date"):
            left_out[name] = f"it is {'text' if meaning.type == 'text' else 'a date'}"
        else:
            made = _covariate(table, name, rows)
            if isinstance(made, str):
                left_out[name] = made
            else:
                found += _gated(made)
    return tuple(_with_rules(found)), left_out


def _covariate(table: PatientTable, name: str, rows: NDArray[np.bool_]) -> Covariate | str:
    meaning = table.meaning[name]
    column = table.columns[name][rows]
    known = column[~np.isnan(column)]
    if len(known) < 2 * RARE:
        return f"it has {len(known)} values"
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) == 1:
        return "it is constant"
    if name in table.levels or meaning.type == "binary":
        names = table.levels.get(name, ("0", "1"))
        numbers = np.arange(len(names), dtype=np.float64)
        return _stepped(name, column, numbers, names, unit="")
    if len(distinct) <= MANY and (meaning.type == "integer" or counts.min() >= RARE):
        scale, unit = _unit(meaning.unit)
        return _stepped(name, column, distinct, (), unit=unit, scale=scale)
    scale, unit = _unit(meaning.unit)
    if counts.max() > len(known) - 2 * RARE:
        return "it is nearly constant"
    return Covariate(name=name, kind="smooth", column=column * scale, unit=unit, values=np.empty(0), levels=())


def _gated(covariate: Covariate) -> list[Covariate]:
    """The covariate, after the gate of its atoms where it has some: an end value that 3 % (and 10) of the patients share."""
    if covariate.kind != "smooth":
        return [covariate]
    column = covariate.column
    known = column[~np.isnan(column)]
    ends = (float(known.min()), float(known.max()))
    shared = [(known == end).sum() >= max(ATOM_COUNT, ATOM_SHARE * len(known)) for end in ends]
    if not any(shared):
        return [covariate]
    atoms = (*(ends[:1] if shared[0] else ()), np.nan, *(ends[1:] if shared[1] else ()))
    index = np.full(len(column), np.nan)
    index[~np.isnan(column)] = float(shared[0])
    for place, atom in enumerate(atoms):
        index[column == atom] = place
    name = f"{covariate.name}.atom"
    gate = Covariate(name=name, kind="stepped", column=index, unit="", values=np.arange(len(atoms), dtype=np.float64), levels=(), hidden=True)
    return [gate, replace(covariate, gate=name, atoms=atoms)]


def _stepped(name: str, column: Array, numbers: Array, levels: tuple[str, ...], *, unit: str, scale: float = 1.0) -> Covariate | str:
    """A stepped covariate; a rare level joins the nearest one that is not rare."""
    known = ~np.isnan(column)
    counts = np.array([(column == number).sum() for number in numbers])
    kept = np.flatnonzero(counts >= RARE)
    if len(kept) < 2:
        return f"fewer than {RARE} patients differ from the rest"
    nearest = np.array([kept[np.argmin(np.abs(kept - place))] for place in range(len(numbers))])
    index = np.full(len(column), np.nan)
    index[known] = np.searchsorted(kept, nearest[np.searchsorted(numbers, column[known])])
    if levels:
        names = tuple(levels[place] for place in kept)
        return Covariate(name=name, kind="stepped", column=index, unit="", values=np.arange(len(kept), dtype=np.float64), levels=names)
    return Covariate(name=name, kind="stepped", column=index, unit=unit, values=numbers[kept] * scale, levels=())


def _unit(unit: str) -> tuple[float, str]:
    return (TIME_UNITS[unit], "time") if unit in TIME_UNITS else (1.0, unit)


def _with_rules(covariates: Sequence[Covariate]) -> list[Covariate]:
    """Every stepped covariate that another determines carries the rule; sources are never rules themselves."""
    rules: dict[str, Rule] = {}
    richest_first = sorted((c for c in covariates if not c.hidden), key=lambda c: (c.kind == "stepped", -len(c.values)))
    for place, target in enumerate(richest_first):
        if target.kind != "stepped":
            continue
        options = [
            (*found, source.name) for source in richest_first[:place] if source.name not in rules and (found := _step_function(source, target)) is not None
        ]
        if options:
            _, cuts, levels, source_name = min(options, key=lambda option: option[0])
            rules[target.name] = Rule(source=source_name, cuts=cuts, levels=levels, values=tuple(target.values.tolist()))
    return [replace(c, rule=rules.get(c.name)) for c in covariates]


def _step_function(source: Covariate, target: Covariate) -> tuple[float, tuple[float, ...], tuple[int, ...]] | None:
    """(share of exceptions, cuts, levels) of the best step function of `source` that gives `target`; None where it is no rule."""
    x, y = source.held(), target.column
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both], y[both].astype(np.int64)
    present = np.unique(y)
    if len(present) < 2:
        return None
    order = sorted(present.tolist(), key=lambda level: float(x[y == level].mean()))
    cuts = []
    for lower, upper in pairwise(order):
        cut = _best_cut(x[y == lower], x[y == upper])
        if cut is None:
            return None
        cuts.append(cut)
    if any(a >= b for a, b in pairwise(cuts)):
        return None
    predicted = np.array(order)[np.searchsorted(np.array(cuts), x)]
    wrong = int((predicted != y).sum())
    minority = len(y) - int(np.bincount(y).max())
    if wrong > _RULE_ERROR * len(y) or wrong > 0.1 * minority:
        return None
    return wrong / len(y), tuple(cuts), tuple(order)


def _best_cut(below: Array, above: Array) -> float | None:
    """The midpoint between two values that parts two groups with the fewest exceptions."""
    x = np.concatenate((below, above))
    is_above = np.concatenate((np.zeros(len(below)), np.ones(len(above))))
    order = np.argsort(x, kind="stable")
    x, is_above = x[order], is_above[order]
    errors = np.cumsum(is_above)[:-1] + (len(below) - np.cumsum(1 - is_above)[:-1])
    possible = np.diff(x) > 0
    if not possible.any():
        return None
    best = int(np.argmin(np.where(possible, errors, np.inf)))
    return float((x[best] + x[best + 1]) / 2)


def arm_index(table: PatientTable, arm: str | None, arms: Mapping[str, str | int | float]) -> NDArray[np.int64]:
    """For each row the place of its arm in `arms`, −1 where it has another. DataError for an arm without patients."""
    index = np.full(table.n, -1, dtype=np.int64)
    if arm is None:
        return np.zeros(table.n, dtype=np.int64)
    table.require(arm)
    for place, (name, value) in enumerate(arms.items()):
        rows = table.equals(arm, value)
        if not rows.any():
            raise DataError(Problem(f'no row has {arm} = {value} (arm "{name}")', file=table.file))
        index[rows] = place
    return index
