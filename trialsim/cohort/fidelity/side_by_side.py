"""The real and the synthetic table in one coding: what every measure of fidelity looks at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.fitted.columns import MANY, covariates_of
from trialsim.cohort.sampler import OutcomeRoles
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Role = Literal["covariate", "arm", "time", "event", "value", "other"]
"""`other`: modelled, but neither baseline nor an outcome: a column that tells the arm, or is known only after baseline."""
Side = Literal["real", "synthetic"]
YES = frozenset({"1", "true", "True", "TRUE"})


@dataclass(frozen=True, slots=True)
class ComparedColumn:
    """One column of both tables. A category holds indices of `levels` (the same on both sides); a number has no levels. NaN is missing."""

    name: str
    role: Role
    levels: tuple[str, ...]
    real: Array
    synthetic: Array

    @property
    def is_stepped(self) -> bool:
        """Whether it has few values: a category, or a number with at most 10 of them in the data."""
        return bool(self.levels) or len(np.unique(self.real[~np.isnan(self.real)])) <= MANY

    def label(self, value: float) -> str:
        """A value in words: the level's name, or the number."""
        return self.levels[int(value)] if self.levels else f"{value:g}"


@dataclass(frozen=True)
class SideBySide:
    """Real and synthetic patients of the same arms, column by column.

    `arms` are the labels of the arms, the reference first; `real_arm` and `synthetic_arm` are each patient's place in them.
    Without an arm there is one, `all`. `rules` maps a column that another determines (`str2` follows from `preanti`) to it.
    """

    columns: tuple[ComparedColumn, ...]
    roles: OutcomeRoles
    arms: tuple[str, ...]
    real_arm: NDArray[np.int64]
    synthetic_arm: NDArray[np.int64]
    rules: dict[str, str]

    @cached_property
    def by_name(self) -> dict[str, ComparedColumn]:
        return {column.name: column for column in self.columns}

    @property
    def covariates(self) -> tuple[ComparedColumn, ...]:
        return tuple(column for column in self.columns if column.role == "covariate")

    @property
    def n_real(self) -> int:
        return len(self.real_arm)

    @property
    def n_synthetic(self) -> int:
        return len(self.synthetic_arm)

    def is_bound(self, one: str, two: str) -> bool:
        """Whether a rule binds two columns: one follows from the other, or both from a third."""
        return self.rules.get(one) == two or self.rules.get(two) == one or (one in self.rules and self.rules.get(one) == self.rules.get(two))

    def follow_up(self, outcome: str, side: Side) -> tuple[Array, Mask]:
        """The times `[patient]` of an event outcome, NaN where the time or the event is not known, and whether the event happened."""
        time, event = (self.by_name[name] for name in self.roles.events[outcome])
        happened = np.array([*(label in YES for label in event.levels), False])
        code = getattr(event, side)
        unknown = np.isnan(code)
        return np.where(unknown, np.nan, getattr(time, side)), happened[np.where(unknown, len(event.levels), code).astype(np.int64)]

    def slice(self, first: int, n: int) -> SideBySide:
        """The same real patients beside synthetic patients `first` … `first + n − 1`."""
        rows = slice(first, first + n)
        columns = tuple(ComparedColumn(c.name, c.role, c.levels, c.real, c.synthetic[rows]) for c in self.columns)
        return SideBySide(columns, self.roles, self.arms, self.real_arm, self.synthetic_arm[rows], self.rules)

    def only(self, real: NDArray[np.int64]) -> SideBySide:
        """Some of the real patients, by place, beside the same synthetic ones."""
        columns = tuple(ComparedColumn(c.name, c.role, c.levels, c.real[real], c.synthetic) for c in self.columns)
        return SideBySide(columns, self.roles, self.arms, self.real_arm[real], self.synthetic_arm, self.rules)


def side_by_side(
    real: PatientTable, synthetic: PatientTable, *, modelled: Iterable[str], roles: OutcomeRoles, reference: str | None = None
) -> tuple[SideBySide, NDArray[np.int64]]:
    """Both tables in one coding, and the places of the real rows that are compared: those of arms that the model draws.

    `reference` is the label of the reference arm; without it the smallest where arms are numbers, else the first in the
    data's order. Raises DataError where a table lacks a column, or no row has an arm of the model.
    """
    names = tuple(modelled)
    absent = [
        Problem(f'the model knows the column "{name}", which {where} not have', file=table.file)
        for table, where in ((real, "the data do"), (synthetic, "the synthetic table does"))
        for name in names
        if name not in table.meaning
    ]
    if absent:
        raise DataError(absent)
    arms, of_real, of_synthetic = _arms(real, synthetic, roles.arm, reference)
    rows = np.flatnonzero(of_real >= 0)
    if not len(rows):
        raise DataError(Problem(f'no row has an arm of the model ({", ".join(arms)}) in the column "{roles.arm}"', file=real.file))
    kept = real.take(rows)
    columns = tuple(_column(kept, synthetic, name, _role(name, roles, kept.meaning[name].role)) for name in names)
    outcomes = [column.name for column in columns if column.role != "covariate"]
    others = [name for name in real.meaning if name not in names]
    found, _ = covariates_of(kept, rows=np.ones(kept.n, dtype=bool), without=[*outcomes, *others])
    rules = {covariate.name: covariate.rule.source for covariate in found if covariate.rule is not None}
    return SideBySide(columns, roles, arms, of_real[rows], of_synthetic, rules), rows


def _role(name: str, roles: OutcomeRoles, meant: str) -> Role:
    if name == roles.arm:
        return "arm"
    for time, event in roles.events.values():
        if name in (time, event):
            return "time" if name == time else "event"
    return "value" if name in roles.values else "covariate" if meant == "covariate" else "other"


def _arms(real: PatientTable, synthetic: PatientTable, arm: str | None, reference: str | None) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    if arm is None:
        return ("all",), np.zeros(real.n, dtype=np.int64), np.zeros(synthetic.n, dtype=np.int64)
    names_real, real_code = _labelled(real, arm)
    names, code = _labelled(synthetic, arm)
    used = [place for place in range(len(names)) if (code == place).any()]
    order = {label: place for place, label in enumerate(names_real)}
    labels = sorted((names[place] for place in used), key=lambda label: (_number(label), order.get(label, len(order))))
    if reference is not None and reference in labels:
        labels = [reference, *(label for label in labels if label != reference)]
    place_of = {label: place for place, label in enumerate(labels)}

    def places(own: tuple[str, ...], codes: Array) -> NDArray[np.int64]:
        table = np.array([*(place_of.get(label, -1) for label in own), -1], dtype=np.int64)
        return table[np.where(np.isnan(codes), len(own), codes).astype(np.int64)]

    return tuple(labels), places(names_real, real_code), places(names, code)


def _number(label: str) -> float:
    """The label as a number; those that are none sort after, all alike."""
    try:
        return float(label)
    except ValueError:
        return float("inf")


def _labelled(table: PatientTable, name: str) -> tuple[tuple[str, ...], Array]:
    """The labels of a column and each cell's place in them, NaN where missing."""
    if name in table.levels:
        return table.levels[name], table.columns[name]
    if name in table.text:
        cells = table.text[name]
        labels = tuple(sorted({cell for cell in cells if cell is not None}))
        place = {label: float(index) for index, label in enumerate(labels)}
        return labels, np.array([np.nan if cell is None else place[cell] for cell in cells])
    column = table.columns[name]
    known = ~np.isnan(column)
    values, places = np.unique(column[known], return_inverse=True)
    out = np.full(len(column), np.nan)
    out[known] = places
    return tuple(f"{value:.12g}" for value in values), out


def _column(real: PatientTable, synthetic: PatientTable, name: str, role: Role) -> ComparedColumn:
    """A column of both tables; a category's levels are the data's, then those that only the synthetic table has."""
    category = name in real.levels or name in real.text or real.meaning[name].type == "binary" or role in ("arm", "event")
    if not category:
        return ComparedColumn(name, role, (), real.numbers(name), synthetic.numbers(name))
    labels, ours = _labelled(real, name)
    own, theirs = _labelled(synthetic, name)
    levels = (*labels, *(label for label in own if label not in labels))
    place = np.array([*(levels.index(label) for label in own), np.nan])
    return ComparedColumn(name, role, levels, ours, place[np.where(np.isnan(theirs), len(own), theirs).astype(np.int64)])
