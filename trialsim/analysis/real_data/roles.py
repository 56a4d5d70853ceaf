"""The columns that play a role in an analysis, their numbers checked; what is doubtful is refused with its rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trialsim.analysis.real_data.question import LARGEST, PROGNOSIS, Mask, Numbers, Question
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem


def one(column: NDArray) -> torch.Tensor:
    """With a replicate axis of length 1."""
    return torch.from_numpy(np.ascontiguousarray(column))[None]


def column_of(table: PatientTable, question: Question, role: str) -> str | None:
    """The column of a role: as mapped, else the one of that name, else None."""
    return question.columns.get(role, role if role in table.meaning else None)


def needed(table: PatientTable, question: Question, role: str, words: str) -> str:
    """The column of a role; DataError that says how to name it where there is none."""
    name = column_of(table, question, role)
    if name is None:
        raise DataError(Problem(f"no column holds the {words}; name it with --map {role}=COLUMN", file=table.file))
    return name


def numbers(table: PatientTable, question: Question, role: str, words: str) -> Numbers:
    """Every cell of a role's column."""
    return table.numbers(needed(table, question, role, words))


def within_reach(table: PatientTable, question: Question, keep: Mask, role: str, words: str) -> Numbers:
    """The values of a role in the rows kept, none of them too large to compute with."""
    given = numbers(table, question, role, words)[keep]
    refuse(table, np.flatnonzero(keep), np.abs(given) > LARGEST, f'{role} ("{column_of(table, question, role)}") is too large', given=given)
    return given


def times(table: PatientTable, question: Question, keep: Mask, role: str, words: str, *, positive: bool = False) -> Numbers:
    """Times of a role in days, none missing or negative (nor zero where they must be positive)."""
    given = numbers(table, question, role, words)[keep]
    rows = np.flatnonzero(keep)
    name = f'{role} ("{column_of(table, question, role)}")'
    if positive:
        refuse(table, rows, ~(given > 0), f"{name} is missing or not positive")
    refuse(table, rows, ~(given >= 0), f"{name} is missing or negative")
    refuse(table, rows, given > LARGEST / question.days, f"{name} is too large", given=given)
    return given * question.days


def refuse(table: PatientTable, rows: NDArray[np.int64], wrong: Mask, message: str, given: Numbers | None = None) -> None:
    """DataError with the first rows that are wrong, and how many there are."""
    if not wrong.any():
        return
    shown = [f"row {table.rows[rows[place]] + 1}{'' if given is None else f' ({given[place]:g})'}" for place in np.flatnonzero(wrong)[:5]]
    more = int(wrong.sum()) - len(shown)
    raise DataError(Problem(f"{message}: {', '.join(shown)}{f' and {more} more' if more else ''}", file=table.file))


def labels(table: PatientTable, name: str) -> NDArray[np.int64]:
    """The value of each row as a number that counts the different values of the column, -1 where missing."""
    table.require(name)
    is_text = name in table.text
    cells = np.array(table.text[name], dtype=object) if is_text else table.columns[name]
    missing = np.array([cell is None for cell in cells], dtype=bool) if is_text else np.isnan(table.columns[name])
    codes = np.full(table.n, -1, dtype=np.int64)
    codes[~missing] = np.unique(cells[~missing].astype(str) if is_text else cells[~missing], return_inverse=True)[1]
    return codes


def shown(table: PatientTable, name: str, row: int) -> str:
    """A cell as the file has it."""
    if name in table.text:
        return str(table.text[name][row])
    value = float(table.columns[name][row])
    if np.isnan(value):
        return "without a value"
    return table.levels[name][int(value)] if name in table.levels else f"{value:g}"


def baseline(table: PatientTable, question: Question, rows: NDArray[np.int64]) -> tuple[Numbers | None, NDArray[np.int64] | None, int, Mask]:
    """Covariates `[patient, column]`, stratum, the number of strata, and who has them all, of the patients in these rows.

    A category becomes indicators of all levels that occur but the first. Strata count from 0 without gaps.
    """
    complete = np.ones(len(rows), dtype=bool)
    columns: list[Numbers] = []
    for name in question.covariates:
        for column in _covariate(table, question, name, rows):
            columns.append(column)
            refuse(table, rows, np.abs(column) > LARGEST, f'covariate "{name}" is too large', given=column)
            complete &= ~np.isnan(column)
    strata = [labels(table, name)[rows] for name in question.stratify_by]
    for level in strata:
        complete &= level >= 0
    left_out = int((~complete).sum())
    if left_out:
        question.notes.append(f"{left_out} of {len(complete)} patients have a missing covariate or stratum and are left out")
    stratum = None
    if strata:
        stratum = np.zeros(len(complete), dtype=np.int64)
        stratum[complete] = np.unique(np.stack(strata, axis=-1)[complete], axis=0, return_inverse=True)[1].reshape(-1)
    n_strata = 1 if stratum is None else int(stratum.max(initial=0)) + 1
    return (np.stack(columns, axis=-1) if columns else None), stratum, n_strata, complete


def _covariate(table: PatientTable, question: Question, name: str, rows: NDArray[np.int64]) -> list[Numbers]:
    """A number as it is; a category as indicators of all levels but the first: the protocol's, where it declares them."""
    if name == PROGNOSIS:
        if question.prognosis is None:
            raise DataError(Problem(f"{PROGNOSIS} needs a cohort model (population.source or covariates) and truth in the protocol", file=table.file))
        return [question.prognosis[rows]]
    declared = question.levels.get(name, ())
    if name not in table.meaning and name in question.columns:
        name = question.columns[name]
    table.require(name)
    if len(declared) > 1:
        return _indicators(table, name, declared, rows)
    if name in table.text:
        raise DataError(Problem(f'the column "{name}" has too many different texts to be a covariate', file=table.file))
    column = table.columns[name]
    if name not in table.levels or len(table.levels[name]) < 2:
        return [column[rows]]
    present = np.unique(column[~np.isnan(column)])
    return [np.where(np.isnan(column), np.nan, column == level)[rows] for level in present[1:]]


def _indicators(table: PatientTable, name: str, levels: tuple[str, ...], rows: NDArray[np.int64]) -> list[Numbers]:
    """One column for each level that the protocol declares but the first; any other value is an error."""
    found = [table.equals(name, level)[rows] for level in levels]
    missing = labels(table, name)[rows] < 0
    refuse(table, rows, ~(np.any(found, axis=0) | missing), f'"{name}" is not one of its levels ({", ".join(levels)})')
    return [np.where(missing, np.nan, each) for each in found[1:]]
