"""A time-to-event endpoint of real patients: times, events, and events of other causes."""

from __future__ import annotations

import numpy as np

from trialsim.analysis.real_data.question import Mask, Question
from trialsim.analysis.real_data.roles import baseline, column_of, needed, numbers, one, refuse, times
from trialsim.analysis.real_data.rows import one_per_patient
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.records import EventData


def event_data(table: PatientTable, question: Question) -> EventData:
    """A time-to-event endpoint. Raises DataError."""
    keep, group = one_per_patient(table, question)
    time = times(table, question, keep, "time", "time to event")
    event, competing = event_codes(table, question, keep)
    covariates, stratum, n_strata, complete = baseline(table, question, np.flatnonzero(keep))
    return EventData(
        time=one(time[complete]),
        event=one(event[complete]),
        group=one(group[complete]),
        stratum=None if stratum is None else one(stratum[complete]),
        n_strata=n_strata,
        covariates=None if covariates is None else one(covariates[complete]),
        competing=None if competing is None else one(competing[complete]),
        n_groups=question.n_groups,
    )


def event_codes(table: PatientTable, question: Question, keep: Mask) -> tuple[Mask, Mask | None]:
    """Whether the event happened, from `event`, else from `status`; and whether one of another cause did, where a cause is named.

    Without a cause the codes are 0 (censored) and 1 (event). With one they are whole numbers from 0 (censored) or labels; the
    cause is a code or label that occurs.
    """
    role = "status" if "status" in question.columns and "event" not in question.columns else "event"
    if column_of(table, question, role) is None and "status" in table.meaning:
        role = "status"
    name = needed(table, question, role, "event indicator")
    if question.cause is not None:
        return _of_cause(table, question, keep, role, name)
    code = numbers(table, question, role, "event indicator")[keep]
    unknown = ~np.isin(code, (0.0, 1.0))
    refuse(table, np.flatnonzero(keep), unknown, f'{role} ("{name}") is not 0 (censored) or 1 (event)', given=code)
    return code == 1.0, None


def _of_cause(table: PatientTable, question: Question, keep: Mask, role: str, name: str) -> tuple[Mask, Mask]:
    assert question.cause is not None
    if set(table.levels.get(name, ())) <= {"true", "false", "True", "False", "TRUE", "FALSE"} and name in table.levels:
        raise DataError(Problem(f'{role} ("{name}") says whether there was an event, not of which cause; name the column of the cause', file=table.file))
    happened = table.equals(name, question.cause)[keep]
    if name in table.text or (name in table.levels and not all(_is_code(level) for level in table.levels[name])):
        known = table.levels.get(name) or tuple(dict.fromkeys(cell for cell in table.text.get(name, ()) if cell is not None))
        censored = table.equals(name, "censored")[keep] | table.equals(name, "censor")[keep] | table.equals(name, "0")[keep]
        missing = np.array([cell is None for cell in table.text[name]])[keep] if name in table.text else np.isnan(table.columns[name][keep])
        refuse(table, np.flatnonzero(keep), missing, f'{role} ("{name}") is missing')
        if not happened.any() and question.cause not in known:
            raise DataError(Problem(f"no row has {name} = {question.cause} (the cause){did_you_mean(question.cause, known)}", file=table.file))
        return happened, ~happened & ~censored
    code = numbers(table, question, role, "event indicator")[keep]
    unknown = ~((code >= 0) & (code == np.round(code)))
    refuse(table, np.flatnonzero(keep), unknown, f'{role} ("{name}") is not 0 (censored) or the whole number of a cause', given=code)
    if not _is_code(question.cause) or float(question.cause) <= 0:
        raise DataError(
            Problem(f'the cause "{question.cause}" has no code in {role} ("{name}"); its codes are whole numbers, so give the cause as one', file=table.file)
        )
    if not (code > 1).any():
        question.notes.append(f'no event in {role} ("{name}") is of another cause')
    return happened, ~happened & (code > 0)


def _is_code(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
