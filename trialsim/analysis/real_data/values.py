"""A single-valued endpoint of real patients: continuous, binary, ordinal or a count."""

from __future__ import annotations

import numpy as np

from trialsim.analysis.real_data.question import Numbers, Question
from trialsim.analysis.real_data.roles import baseline, column_of, needed, numbers, one, refuse, times, within_reach
from trialsim.analysis.real_data.rows import one_per_patient
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.records import ValueData


def value_data(table: PatientTable, question: Question, *, kind: str = "continuous") -> ValueData:
    """A single-valued endpoint, or its change from baseline. Patients without the value are left out. Raises DataError.

    `kind` is the endpoint's type. A binary value is 0 or 1 (or true and false); an ordinal one a number, or a category in the
    order of its levels; a count a whole number from 0, with its time of observation where a column plays the role `exposure`.
    """
    keep, group = one_per_patient(table, question)
    value = _values(table, question, keep, kind)
    if question.change:
        value = value - within_reach(table, question, keep, "baseline", "value at baseline of a change")
    missing = int(np.isnan(value).sum())
    if missing:
        question.notes.append(f"{missing} of {len(value)} patients have no value and are left out")
    exposure = None
    if kind == "count" and column_of(table, question, "exposure") is not None:
        exposure = times(table, question, keep, "exposure", "time at risk", positive=True)
    covariates, stratum, n_strata, complete = baseline(table, question, np.flatnonzero(keep))
    return ValueData(
        value=one(value[complete]),
        group=one(group[complete]),
        stratum=None if stratum is None else one(stratum[complete]),
        n_strata=n_strata,
        covariates=None if covariates is None else one(covariates[complete]),
        exposure=None if exposure is None else one(exposure[complete]),
        n_groups=question.n_groups,
    )


def _values(table: PatientTable, question: Question, keep: np.ndarray, kind: str) -> Numbers:
    name = needed(table, question, "value", "value")
    rows = np.flatnonzero(keep)
    if kind == "ordinal" and name in table.levels:
        return _categories(table, question, name)[keep]
    if kind == "ordinal":
        given = numbers(table, question, "value", "value")[keep]
        levels, code = np.unique(given, return_inverse=True)
        return np.where(np.isnan(given), np.nan, code.reshape(-1).astype(np.float64)) if len(levels) else given
    given = within_reach(table, question, keep, "value", "value")
    seen = ~np.isnan(given)
    if kind == "binary":
        refuse(table, rows, seen & ~np.isin(given, (0.0, 1.0)), f'value ("{name}") is not 0 or 1', given=given)
    if kind == "count":
        refuse(table, rows, seen & ((given < 0) | (given != np.round(given))), f'value ("{name}") is not a count', given=given)
    if not seen.any():
        raise DataError(Problem(f'no patient has a value ("{name}")', file=table.file))
    return given


def _categories(table: PatientTable, question: Question, name: str) -> Numbers:
    """Each row's category by its place in the order: the protocol's, the card's, or that of numbers. Text has no order of its own."""
    levels = table.levels[name]
    if question.categories:
        unknown = [level for level in levels if level not in question.categories]
        if unknown:
            known = ", ".join(question.categories)
            raise DataError(Problem(f'"{unknown[0]}" in the column "{name}" is not a category of the outcome ({known})', file=table.file))
        place = np.array([question.categories.index(level) for level in levels], dtype=np.float64)
        return np.where(np.isnan(table.columns[name]), np.nan, place[np.nan_to_num(table.columns[name]).astype(np.int64)])
    if not table.meaning[name].levels and not all(_is_number(level) for level in levels):
        raise DataError(
            Problem(
                f'the categories of value ("{name}": {", ".join(levels)}) have no known order; give the column its levels in a card (--card)', file=table.file
            )
        )
    return table.columns[name]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
