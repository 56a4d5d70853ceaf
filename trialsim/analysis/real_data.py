"""From a table of real patients to the records the kernels take: the same kernels as in simulation, one replicate.

A *column map* says which column plays which role (`ROLES`); a role that is not mapped is the column of the same name, and
so is every covariate and stratum. Nothing doubtful is analysed: a negative or missing time, an event that is not 0 or
1, a number whose square is beyond floating point, a patient twice, an arm without patients are errors that name their rows
(counted from 1 below the file's header).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.records import EventData, ValueData

ROLES = ("time", "event", "status", "arm", "value", "baseline", "visit", "id")
PROGNOSIS = "twin_prognosis"
LARGEST = 1e150
"""Numbers beyond are refused: variances square them."""

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Visit:
    """The visit analysed: its id, its time since randomisation and how far from it still counts (days)."""

    id: str
    at: float | None = None
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, in the words of the data.

    `columns` maps roles to columns; `arms` maps test and reference to their values in the arm column; `days` is the length
    of the data's unit of time. `change`: the value at baseline is subtracted. `prognosis` is the twin's expected
    outcome of every row of the table, where a covariate asks for it.
    """

    test: str
    reference: str
    arms: Mapping[str, str | int | float]
    columns: Mapping[str, str]
    covariates: tuple[str, ...] = ()
    stratify_by: tuple[str, ...] = ()
    visit: Visit | None = None
    change: bool = False
    days: float = 1.0
    prognosis: Numbers | None = None
    notes: list[str] = field(default_factory=list)
    """What was left out, in words, for the user."""


def event_data(table: PatientTable, question: Question) -> EventData:
    """A time-to-event endpoint. Raises DataError."""
    keep, group = _rows(table, question)
    given = _role(table, question, "time", "time to event")[keep]
    event = _codes(table, question, keep)
    rows = np.flatnonzero(keep)
    name = f'time ("{_column(table, question, "time")}")'
    _refuse(table, rows, ~(given >= 0), f"{name} is missing or negative")
    _refuse(table, rows, given > LARGEST / question.days, f"{name} is too large", given=given)
    time = given * question.days
    covariates, stratum, complete = _baseline(table, question, keep)
    n_strata = 1 if stratum is None else int(stratum.max(initial=0)) + 1
    return EventData(
        time=_one(time[complete]),
        event=_one(event[complete]),
        group=_one(group[complete]),
        stratum=None if stratum is None else _one(stratum[complete]),
        n_strata=n_strata,
        covariates=None if covariates is None else _one(covariates[complete]),
    )


def value_data(table: PatientTable, question: Question) -> ValueData:
    """A single-valued endpoint, or its change from baseline. Patients without the value are left out. Raises DataError."""
    keep, group = _rows(table, question)
    value = _within_reach(table, question, keep, "value", "value")
    if question.change:
        value = value - _within_reach(table, question, keep, "baseline", "value at baseline of a change")
    missing = int(np.isnan(value).sum())
    if missing:
        question.notes.append(f"{missing} of {len(value)} patients have no value and are left out")
    covariates, _, complete = _baseline(table, question, keep)
    return ValueData(
        value=_one(value[complete]),
        group=_one(group[complete]),
        covariates=None if covariates is None else _one(covariates[complete]),
    )


def _one(column: NDArray) -> torch.Tensor:
    """With a replicate axis of length 1."""
    return torch.from_numpy(np.ascontiguousarray(column))[None]


def _column(table: PatientTable, question: Question, role: str) -> str | None:
    """The column of a role: as mapped, else the one of that name, else None."""
    return question.columns.get(role, role if role in table.meaning else None)


def _role(table: PatientTable, question: Question, role: str, words: str) -> Numbers:
    name = _column(table, question, role)
    if name is None:
        raise DataError(Problem(f"no column holds the {words}; name it with --map {role}=COLUMN", file=table.file))
    return table.numbers(name)


def _within_reach(table: PatientTable, question: Question, keep: Mask, role: str, words: str) -> Numbers:
    """The values of a role in the rows kept, none of them too large to compute with."""
    given = _role(table, question, role, words)[keep]
    _refuse(table, np.flatnonzero(keep), np.abs(given) > LARGEST, f'{role} ("{_column(table, question, role)}") is too large', given=given)
    return given


def _rows(table: PatientTable, question: Question) -> tuple[Mask, NDArray[np.int8]]:
    """The rows of the two arms at the visit, and their group (1: test)."""
    column = _column(table, question, "arm")
    if column is None:
        raise DataError(Problem("no column holds the arm; name it with --map arm=COLUMN", file=table.file))
    test, reference = (table.equals(column, question.arms.get(arm, arm)) for arm in (question.test, question.reference))
    for arm, rows in ((question.test, test), (question.reference, reference)):
        if not rows.any():
            raise DataError(
                Problem(f'no patient has {column} = {question.arms.get(arm, arm)} (arm "{arm}"); give the arms\' values with --arms', file=table.file)
            )
    if (test & reference).any():
        value = question.arms.get(question.test, question.test)
        raise DataError(
            Problem(f'the arms "{question.test}" and "{question.reference}" are both {column} = {value}; give each its value with --arms', file=table.file)
        )
    keep = test | reference
    others = int((~keep).sum())
    if others:
        question.notes.append(f"{others} of {table.n} rows belong to neither arm and are left out")
    if question.visit is not None and question.columns.get("visit"):
        keep = keep & _at_visit(table, question, question.visit, question.columns["visit"])
    identifier = question.columns.get("id")
    if identifier is not None:
        _refuse_twice(table, identifier, keep)
    return keep, test[keep].astype(np.int8)


def _at_visit(table: PatientTable, question: Question, visit: Visit, column: str) -> Mask:
    """Rows of the visit: those labelled with its id, else those within its window."""
    labelled = table.equals(column, visit.id)
    if labelled.any():
        return labelled
    if visit.at is None or column in table.text or column in table.levels:
        raise DataError(Problem(f'no row has {column} = {visit.id} (visit "{visit.id}")', file=table.file))
    with np.errstate(over="ignore"):  # what is beyond floating point is not near
        near = np.abs(table.numbers(column) * question.days - visit.at) <= visit.window + 1e-9
    if not near.any():
        raise DataError(Problem(f'no row is within {visit.window:g} days of visit "{visit.id}" (day {visit.at:g})', file=table.file))
    return near


def _refuse_twice(table: PatientTable, identifier: str, keep: Mask) -> None:
    table.require(identifier)
    seen: dict[str, int] = {}
    for row in np.flatnonzero(keep).tolist():
        cell, number = _shown(table, identifier, row), int(table.rows[row]) + 1
        if cell in seen:
            raise DataError(
                Problem(f'row {number}: patient {cell} ("{identifier}") is in row {seen[cell]} already; map visit= where rows are visits', file=table.file)
            )
        seen[cell] = number


def _shown(table: PatientTable, name: str, row: int) -> str:
    """A cell as the file has it."""
    if name in table.text:
        return str(table.text[name][row])
    value = float(table.columns[name][row])
    if np.isnan(value):
        return "without a value"
    return table.levels[name][int(value)] if name in table.levels else f"{value:g}"


def _codes(table: PatientTable, question: Question, keep: Mask) -> Mask:
    """The event indicator: 1 or 0, from `event`, else from `status`."""
    role = "status" if "status" in question.columns and "event" not in question.columns else "event"
    if _column(table, question, role) is None and "status" in table.meaning:
        role = "status"
    code = _role(table, question, role, "event indicator")[keep]
    unknown = ~np.isin(code, (0.0, 1.0))
    words = f'{role} ("{_column(table, question, role)}") is not 0 (censored) or 1 (event)'
    _refuse(table, np.flatnonzero(keep), unknown, words, given=code)
    return code == 1.0


def _refuse(table: PatientTable, rows: NDArray[np.int64], wrong: Mask, message: str, given: Numbers | None = None) -> None:
    """DataError with the first rows that are wrong, and how many there are."""
    if not wrong.any():
        return
    shown = [f"row {table.rows[rows[place]] + 1}{'' if given is None else f' ({given[place]:g})'}" for place in np.flatnonzero(wrong)[:5]]
    more = int(wrong.sum()) - len(shown)
    raise DataError(Problem(f"{message}: {', '.join(shown)}{f' and {more} more' if more else ''}", file=table.file))


def _baseline(table: PatientTable, question: Question, keep: Mask) -> tuple[Numbers | None, NDArray[np.int64] | None, Mask]:
    """Covariate columns [patient, column], stratum, and who has them all; numbers of strata count from 0 without gaps."""
    complete = np.ones(int(keep.sum()), dtype=bool)
    columns: list[Numbers] = []
    for name in question.covariates:
        for column in _covariate(table, question, name):
            columns.append(column[keep])
            _refuse(table, np.flatnonzero(keep), np.abs(columns[-1]) > LARGEST, f'covariate "{name}" is too large', given=columns[-1])
            complete &= ~np.isnan(columns[-1])
    strata: list[NDArray] = []
    for name in question.stratify_by:
        strata.append(_level(table, name)[keep])
        complete &= strata[-1] >= 0
    left_out = int((~complete).sum())
    if left_out:
        question.notes.append(f"{left_out} of {len(complete)} patients have a missing covariate or stratum and are left out")
    stratum = None
    if strata:
        stratum = np.zeros(len(complete), dtype=np.int64)
        stratum[complete] = np.unique(np.stack(strata, axis=-1)[complete], axis=0, return_inverse=True)[1].reshape(-1)
    return (np.stack(columns, axis=-1) if columns else None), stratum, complete


def _covariate(table: PatientTable, question: Question, name: str) -> list[Numbers]:
    """A number as it is; a category as indicators of all levels that occur but the first."""
    if name == PROGNOSIS:
        if question.prognosis is None:
            raise DataError(Problem(f"{PROGNOSIS} needs a cohort model (population.source or covariates) and truth in the protocol", file=table.file))
        return [question.prognosis]
    if name not in table.meaning and name in question.columns:
        name = question.columns[name]
    table.require(name)
    if name in table.text:
        raise DataError(Problem(f'the column "{name}" has too many different texts to be a covariate', file=table.file))
    column = table.columns[name]
    if name not in table.levels or len(table.levels[name]) < 2:
        return [column]
    present = np.unique(column[~np.isnan(column)])
    return [np.where(np.isnan(column), np.nan, column == level) for level in present[1:]]


def _level(table: PatientTable, name: str) -> NDArray[np.int64]:
    """The level of each row as a number, -1 where missing."""
    table.require(name)
    cells = np.array([None if cell is None else cell for cell in table.text[name]], dtype=object) if name in table.text else table.columns[name]
    missing = np.array([cell is None for cell in cells]) if name in table.text else np.isnan(table.columns[name])
    codes = np.full(table.n, -1, dtype=np.int64)
    codes[~missing] = np.unique(cells[~missing].astype(str) if name in table.text else cells[~missing], return_inverse=True)[1]
    return codes
