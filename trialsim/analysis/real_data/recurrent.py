"""Recurrent events of real patients, from rows that are intervals (start, stop, event) or single events."""

from __future__ import annotations

import numpy as np

from trialsim.analysis.real_data.events import event_codes
from trialsim.analysis.real_data.question import Question
from trialsim.analysis.real_data.roles import baseline, column_of, one, refuse, times
from trialsim.analysis.real_data.rows import arm_column, of_arms, patients, same_within
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem
from trialsim.records import RecurrentData


def recurrent_data(table: PatientTable, question: Question) -> RecurrentData:
    """The events of every patient and how long each was followed: to the end of the last row. Raises DataError.

    A patient's rows end at `time`, with `event` 1 where that is an event; where a column plays the role `start` the rows of a
    patient must follow each other without gaps or overlaps, from 0. A row of no length carries no time at risk.
    """
    keep, group = of_arms(table, question)
    rows = np.flatnonzero(keep)
    patient, first = patients(table, question, keep)
    names = [name if name in table.meaning else question.columns.get(name, name) for name in question.covariates]
    for name in (arm_column(table, question), *(name for name in (*names, *question.stratify_by) if name in table.meaning)):
        same_within(table, patient, first, rows, name)
    stop = times(table, question, keep, "time", "time of the event or the end of the interval")
    event, _ = event_codes(table, question, keep)
    order = np.lexsort((stop, patient))
    n = len(first)
    if column_of(table, question, "start") is not None:
        start = times(table, question, keep, "start", "start of the interval")
        refuse(table, rows, start > stop, f'start ("{column_of(table, question, "start")}") is after time')
        before = np.concatenate([[0.0], stop[order][:-1]])
        new = np.concatenate([[True], patient[order][1:] != patient[order][:-1]])
        expected = np.where(new, 0.0, before)
        wrong = np.zeros(len(rows), dtype=bool)
        wrong[order] = start[order] != expected
        refuse(table, rows, wrong, "the interval does not begin where the patient's last one ended", given=start / question.days)
    counts = np.bincount(patient[event], minlength=n)
    time = np.full((n, max(int(counts.max(initial=0)), 1)), np.inf)
    events = order[event[order]]
    position = np.arange(len(events)) - np.searchsorted(patient[events], patient[events], side="left")
    time[patient[events], position] = stop[events]
    follow_up = np.zeros(n)
    np.maximum.at(follow_up, patient, stop)
    covariates, stratum, n_strata, complete = baseline(table, question, first)
    if not complete.any():
        raise DataError(Problem("no patient has every covariate and stratum", file=table.file))
    return RecurrentData(
        time=one(time[complete]),
        follow_up=one(follow_up[complete]),
        group=one(group[np.searchsorted(rows, first)][complete]),
        stratum=None if stratum is None else one(stratum[complete]),
        n_strata=n_strata,
        covariates=None if covariates is None else one(covariates[complete]),
        n_groups=question.n_groups,
    )
