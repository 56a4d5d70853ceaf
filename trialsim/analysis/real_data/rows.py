"""The rows of a table that an analysis is of: those of its arms, at its visit, each patient once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.analysis.real_data.question import Mask, Question, Visit
from trialsim.analysis.real_data.roles import column_of, labels, needed, shown
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem


def of_arms(table: PatientTable, question: Question) -> tuple[Mask, NDArray[np.int8]]:
    """The rows of the arms compared, and the group of each of them: 0 reference, 1 test, 2… the other arms of the model."""
    column = needed(table, question, "arm", "arm")
    arms = (question.reference, question.test, *question.others)
    members = [table.equals(column, question.arms.get(arm, arm)) for arm in arms]
    for arm, rows in zip(arms, members, strict=True):
        if not rows.any():
            value = question.arms.get(arm, arm)
            raise DataError(Problem(f'no patient has {column} = {value} (arm "{arm}"); give the arms\' values with --arms', file=table.file))
    keep = np.zeros(table.n, dtype=bool)
    group = np.zeros(table.n, dtype=np.int8)
    for place, (arm, rows) in enumerate(zip(arms, members, strict=True)):
        twice = keep & rows
        if twice.any():
            first = arms[int(group[twice][0])]
            value = question.arms.get(arm, arm)
            raise DataError(Problem(f'the arms "{arm}" and "{first}" are both {column} = {value}; give each its value with --arms', file=table.file))
        keep |= rows
        group[rows] = place
    others = int((~keep).sum())
    if others:
        question.notes.append(f"{others} of {table.n} rows belong to {'neither' if len(arms) == 2 else 'no'} arm and are left out")
    return keep, group[keep]


def one_per_patient(table: PatientTable, question: Question) -> tuple[Mask, NDArray[np.int8]]:
    """The rows of the arms at the visit analysed, and their groups. A patient who is there twice is an error."""
    keep, group = of_arms(table, question)
    column = question.columns.get("visit")
    if question.visit is not None and column:
        there = at_visit(table, question, question.visit, column)
        group = group[there[keep]]
        keep = keep & there
    identifier = column_of(table, question, "id")
    if identifier is not None:
        _refuse_twice(table, identifier, keep)
    return keep, group


def at_visit(table: PatientTable, question: Question, visit: Visit, column: str, *, or_none: bool = False) -> Mask:
    """Rows of the visit: those labelled with its id, else those within its window. DataError where there are none, unless allowed."""
    labelled = table.equals(column, visit.id)
    if labelled.any():
        return labelled
    if visit.at is None or column in table.text or column in table.levels:
        if or_none:
            return labelled
        raise DataError(Problem(f'no row has {column} = {visit.id} (visit "{visit.id}")', file=table.file))
    with np.errstate(over="ignore"):  # what is beyond floating point is not near
        near = np.abs(table.numbers(column) * question.days - visit.at) <= visit.window + 1e-9
    if not near.any() and not or_none:
        raise DataError(Problem(f'no row is within {visit.window:g} days of visit "{visit.id}" (day {visit.at:g})', file=table.file))
    return near


def patients(table: PatientTable, question: Question, keep: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The patient of each row kept (numbers from 0 in order of appearance), and each patient's first row in the table.

    DataError where no column names the patient, a cell of it is missing, or a patient changes arm.
    """
    identifier = needed(table, question, "id", "patient")
    rows = np.flatnonzero(keep)
    code = labels(table, identifier)[rows]
    if (code < 0).any():
        row = int(table.rows[rows[np.flatnonzero(code < 0)[0]]]) + 1
        raise DataError(Problem(f'row {row}: the patient ("{identifier}") is missing', file=table.file))
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], rows[first[order]]


def same_within(table: PatientTable, patient: NDArray[np.int64], first: NDArray[np.int64], rows: NDArray[np.int64], name: str) -> None:
    """DataError where a column that belongs to the patient differs between the patient's rows."""
    code = labels(table, name)
    differs = code[rows] != code[first][patient]
    if differs.any():
        row = int(rows[np.flatnonzero(differs)[0]])
        raise DataError(
            Problem(
                f'row {table.rows[row] + 1}: "{name}" differs from the patient\'s first row ({shown(table, name, row)}); it must be the same in all rows of a patient',
                file=table.file,
            )
        )


def _refuse_twice(table: PatientTable, identifier: str, keep: Mask) -> None:
    table.require(identifier)
    seen: dict[str, int] = {}
    for row in np.flatnonzero(keep).tolist():
        cell, number = shown(table, identifier, row), int(table.rows[row]) + 1
        if cell in seen:
            raise DataError(
                Problem(f'row {number}: patient {cell} ("{identifier}") is in row {seen[cell]} already; map visit= where rows are visits', file=table.file)
            )
        seen[cell] = number


def arm_column(table: PatientTable, question: Question) -> str:
    """The column of the arm."""
    name = column_of(table, question, "arm")
    assert name is not None
    return name
