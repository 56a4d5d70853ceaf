"""An endpoint at several visits of real patients, from one row a visit or one column a visit."""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.analysis.real_data.question import LARGEST, Mask, Numbers, Question, Visit
from trialsim.analysis.real_data.roles import baseline, column_of, needed, one, refuse, shown, within_reach
from trialsim.analysis.real_data.rows import arm_column, at_visit, of_arms, patients, same_within
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.records import VisitData


def visit_data(table: PatientTable, question: Question) -> VisitData:
    """The endpoint of every patient at every visit, NaN where it is missing. Raises DataError.

    Rows are visits (roles `id`, `visit`, `value`), or patients whose visits have a column each. Visits are those of the
    protocol, else those of the data in their natural order. Arm, covariates, strata and the value at baseline belong to the
    patient and must not differ between the patient's rows.
    """
    keep, group = of_arms(table, question)
    if question.visits and all(visit.column is not None for visit in question.visits):
        rows = np.flatnonzero(keep)
        value = np.stack([_column(table, rows, str(visit.column)) for visit in question.visits], axis=-1)
        order, first = question.visits, rows
        start = within_reach(table, question, keep, "baseline", "value at baseline") if column_of(table, question, "baseline") else None
    else:
        patient, first = patients(table, question, keep)
        rows = np.flatnonzero(keep)
        for name in (arm_column(table, question), *_of_the_patient(table, question)):
            same_within(table, patient, first, rows, name)
        order, place = _visits(table, question, rows)
        value, start = _by_visit(table, question, keep, patient, place, len(order), len(first))
        group = group[np.searchsorted(rows, first)]
    if question.change:
        if start is None:
            raise DataError(Problem("no column holds the value at baseline of a change; name it with --map baseline=COLUMN", file=table.file))
        value = value - start[:, None]
    covariates, stratum, n_strata, complete = baseline(table, question, first)
    seen: Mask = np.asarray(~np.isnan(value).all(-1))
    if question.impute:
        seen = np.ones_like(seen)
    elif question.from_baseline and start is not None:
        seen |= ~np.isnan(start)
    if not seen.all():
        question.notes.append(f"{int((~seen).sum())} of {len(seen)} patients have no value at any visit and are left out")
    complete &= seen
    if not complete.any():
        raise DataError(Problem("no patient has a value at a visit and every covariate", file=table.file))
    return VisitData(
        value=one(value[complete]),
        group=one(group[complete]),
        at=_place_of_contrast(table, question, order),
        baseline=None if start is None else one(start[complete]),
        stratum=None if stratum is None else one(stratum[complete]),
        n_strata=n_strata,
        covariates=None if covariates is None else one(covariates[complete]),
        n_groups=question.n_groups,
        included=torch.ones((1, int(complete.sum())), dtype=torch.bool) if question.impute else None,
    )


def _column(table: PatientTable, rows: NDArray[np.int64], name: str) -> Numbers:
    given = table.numbers(name)[rows]
    refuse(table, rows, np.abs(given) > LARGEST, f'"{name}" is too large', given=given)
    return given


def _of_the_patient(table: PatientTable, question: Question) -> list[str]:
    named = [question.columns.get(name, name) if name not in table.meaning else name for name in question.covariates]
    return [name for name in (*named, *question.stratify_by) if name in table.meaning]


def _visits(table: PatientTable, question: Question, rows: NDArray[np.int64]) -> tuple[tuple[Visit, ...], NDArray[np.int64]]:
    """The visits in order, and which of them each row is (-1: none of them)."""
    column = column_of(table, question, "visit")
    if column is None:
        raise DataError(Problem("no column holds the visit; name it with --map visit=COLUMN", file=table.file))
    place = np.full(len(rows), -1, dtype=np.int64)
    order = question.visits or tuple(Visit(id=label) for label in natural_order({shown(table, column, int(row)) for row in rows}))
    for index, visit in enumerate(order):
        place[at_visit(table, question, visit, column, or_none=True)[rows]] = index
    for index, visit in enumerate(order):
        if not (place == index).any():
            raise DataError(Problem(f'no row is of visit "{visit.id}" ({column})', file=table.file))
    others = int((place < 0).sum())
    if others:
        question.notes.append(f"{others} of {len(rows)} rows are of no visit of the endpoint and are left out")
    return order, place


def natural_order(labels: set[str]) -> list[str]:
    """Labels in the order a reader expects: numbers within them by size, the rest by letters."""
    return sorted(labels, key=lambda label: [(0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in re.findall(r"\d+\.?\d*|\D+", label)])


def _by_visit(
    table: PatientTable, question: Question, keep: Mask, patient: NDArray[np.int64], place: NDArray[np.int64], n_visits: int, n: int
) -> tuple[Numbers, Numbers | None]:
    """Values `[patient, visit]` and the value at baseline."""
    rows = np.flatnonzero(keep)
    given = within_reach(table, question, keep, "value", "value")
    of_visit = place >= 0
    cell = patient * n_visits + place
    order = np.flatnonzero(of_visit)
    unique, first = np.unique(cell[order], return_index=True)
    if len(unique) < len(order):
        again = np.setdiff1d(order, order[first])[0]
        earlier = order[first][np.searchsorted(unique, cell[again])]
        identifier, column = needed(table, question, "id", "patient"), needed(table, question, "visit", "visit")
        raise DataError(
            Problem(
                f"row {table.rows[rows[again]] + 1}: patient {shown(table, identifier, int(rows[again]))} has {column} = {shown(table, column, int(rows[again]))} in row {table.rows[rows[earlier]] + 1} already",
                file=table.file,
            )
        )
    value = np.full(n * n_visits, np.nan)
    value[cell[order]] = given[order]
    start: Numbers | None = None
    if column_of(table, question, "baseline") is not None:
        at_start = within_reach(table, question, keep, "baseline", "value at baseline")
        start = np.full(n, np.nan)
        for row in np.flatnonzero(~np.isnan(at_start))[::-1]:
            start[patient[row]] = at_start[row]
        differs = ~np.isnan(at_start) & (at_start != start[patient])
        refuse(table, rows, differs, f'baseline ("{column_of(table, question, "baseline")}") differs between the rows of a patient', given=at_start)
    return value.reshape(n, n_visits), start


def _place_of_contrast(table: PatientTable, question: Question, order: tuple[Visit, ...]) -> int:
    names = [visit.id for visit in order]
    if question.visit is None:
        return len(order) - 1
    if question.visit.id not in names:
        raise DataError(Problem(f'"{question.visit.id}" is not a visit of the data{did_you_mean(question.visit.id, names)}', file=table.file))
    return names.index(question.visit.id)
