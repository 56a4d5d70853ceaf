"""The outcomes of a table: those that are named, and the other columns measured after baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.fitted.columns import FEWEST, MANY, MISSING, RARE, Array
from trialsim.cohort.fitted.resolution import step_of
from trialsim.cohort.fitted.rules import AnyRule, Copy, Rule, copy_of, step_function
from trialsim.cohort.population import EventColumns, OutcomeColumns
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.units import TIME_UNITS

BASELINE = "baseline"
AFTER = "after"  # the visit of a column after baseline that no outcome names
Key = tuple[str, str]


class NamedOutcomes:
    """The outcomes a source names, checked, restricted to `rows`, times in days; then other columns after baseline.

    `events` (time, event) and `values` are `[patient]`, NaN where missing. `time_columns` and `event_columns` name the
    columns of each event, `value_columns` that of each value, `baselines` the column of an outcome at baseline. `rules` are of
    columns after baseline that follow from others, in the data's own numbers.
    """

    def __init__(self, table: PatientTable, outcomes: Mapping[str, OutcomeColumns], rows: NDArray[np.bool_]):
        self.table, self.rows = table, rows
        self.events: dict[str, tuple[Array, Array]] = {}
        self.values: dict[Key, Array] = {}
        self.baselines: dict[str, str] = {}
        self.time_columns: dict[str, str] = {}
        self.event_columns: dict[str, str] = {}
        self.value_columns: dict[Key, str] = {}
        self.rules: dict[str, AnyRule] = {}
        self.constants: dict[str, float] = {}
        self.left_out: dict[str, str] = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, EventColumns):
                self.events[name] = self._event(name, outcome.time, outcome.event)
                self.time_columns[name], self.event_columns[name] = outcome.time, outcome.event
                continue
            for visit, column in outcome.columns.items():
                if visit == BASELINE:
                    table.require(column)
                    self.baselines[name] = column
                else:
                    self.values[name, visit] = self._value(name, visit, column)
                    self.value_columns[name, visit] = column
        self._once()

    @property
    def columns(self) -> list[str]:
        """Every column that is an outcome."""
        return [*self.time_columns.values(), *self.event_columns.values(), *self.value_columns.values()]

    def _once(self) -> None:
        """Two outcomes of one column would be drawn twice."""
        seen = self.columns
        for name in sorted({name for name in seen if seen.count(name) > 1}):
            raise DataError(Problem(f'the column "{name}" is named by more than one outcome', file=self.table.file))

    def _event(self, name: str, time_column: str, event_column: str) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):
            seen = self.table.numbers(time_column)[self.rows] * TIME_UNITS.get(self.table.meaning[time_column].unit, 1.0)
        event = self.table.numbers(event_column)[self.rows]
        if (seen < 0).any():
            raise DataError(Problem(f'the column "{time_column}" (outcome {name}) has a negative time ({np.nanmin(seen):g} days)', file=self.table.file))
        if np.isinf(seen).any():
            raise DataError(Problem(f'the column "{time_column}" (outcome {name}) has a time beyond floating point', file=self.table.file))
        wrong = event[~np.isnan(event) & (event != 0) & (event != 1)]
        if len(wrong):
            raise DataError(Problem(f'the column "{event_column}" (outcome {name}) holds {wrong[0]:g}; an event is 0 or 1', file=self.table.file))
        if not (event == 1).any():
            raise DataError(Problem(f'the column "{event_column}" (outcome {name}) has no events', file=self.table.file))
        return seen, event

    def _value(self, name: str, visit: str, column: str) -> Array:
        value = self.table.numbers(column)[self.rows] * TIME_UNITS.get(self.table.meaning[column].unit, 1.0)
        if (~np.isnan(value)).sum() < FEWEST or np.nanstd(value) == 0:
            raise DataError(Problem(f'the column "{column}" (outcome {name} at {visit}) has too few different values', file=self.table.file))
        return value

    def check_baselines(self, names: Sequence[str], left_out: Mapping[str, str]) -> None:
        """Raises DataError where the baseline of an outcome is not among the covariates `names`."""
        for outcome, column in self.baselines.items():
            if column not in names:
                why = left_out.get(column, f"it is an outcome or the arm{did_you_mean(column, names)}")
                raise DataError(Problem(f'the baseline of {outcome}, "{column}", is not a covariate: {why}', file=self.table.file))

    def add_others(self, arm: str | None) -> None:
        """Columns whose role is `outcome` or `post_baseline` and that no outcome names: rules of others, or values after baseline.

        A column is a rule where it says whether another is there, is a step function of another outcome or of when or
        whether an event came, or is a copy in another unit. Numbers are values after baseline, given the covariates and
        the arm. Left out, with the reason: other categories, text and dates. Where the card describes no columns, one
        that follows from an outcome was not known at baseline either.
        """
        undescribed = self.table.card is not None and not self.table.card.columns
        for name, meaning in self.table.meaning.items():
            if name in self.columns or name == arm:
                continue
            if meaning.role not in ("outcome", "post_baseline"):
                if undescribed and name in self.table.columns and name not in self.baselines.values():
                    self._add_rule_of_outcome(name)
                continue
            if meaning.type in ("text", "date"):
                self.left_out[name] = f"it is {'text' if meaning.type == 'text' else 'a date'}"
                continue
            column = self.table.columns[name][self.rows]
            known = column[~np.isnan(column)]
            distinct, counts = np.unique(known, return_counts=True)
            if len(distinct) == 1:
                self.constants[name] = float(distinct[0])
            elif len(known) < FEWEST or len(known) - counts.max() < RARE:
                self.left_out[name] = "it nearly never varies" if len(known) else "it has no values"
            elif (rule := self._rule(name, column, distinct)) is not None:
                self.rules[name] = rule
            elif name in self.table.levels or len(distinct) <= MANY:
                self.left_out[name] = f"its role is {meaning.role} and it is a category that no outcome names"
            else:
                self.values[name, AFTER] = column * TIME_UNITS.get(meaning.unit, 1.0)
                self.value_columns[name, AFTER] = name

    def _add_rule_of_outcome(self, name: str) -> None:
        column = self.table.columns[name][self.rows]
        distinct, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        if len(distinct) > 1 and counts.sum() - counts.max() >= RARE and (rule := self._rule(name, column, distinct)) is not None:
            self.rules[name] = rule

    def _rule(self, name: str, column: Array, distinct: Array) -> AnyRule | None:
        """How a column follows from the outcomes that are named, as written in the data."""
        if len(distinct) <= MANY and (name not in self.table.levels or len(self.table.levels[name]) <= MANY):
            index = np.full(len(column), np.nan)
            index[~np.isnan(column)] = np.searchsorted(distinct, column[~np.isnan(column)])
            options = [(*found, source) for source, x in self._sources() if source != name and (found := step_function(x, index)) is not None]
            if options:
                _, cuts, levels, source = min(options, key=lambda option: option[0])
                return Rule(source=source, cuts=cuts, levels=levels, values=tuple(distinct.tolist()))
            return None
        for source in (*self.time_columns.values(), *self.value_columns.values()):
            x = self.table.numbers(source)[self.rows]
            line = copy_of(x, column, steps=(step_of(x), step_of(column)))
            if line is not None:
                return Copy(source=source, intercept=line[0], slope=line[1])
        return None

    def _sources(self) -> list[tuple[str, Array]]:
        """What a column after baseline may follow from: outcomes, and whether they (or other numbers after baseline) are there."""
        numbers = [name for name, meaning in self.table.meaning.items() if meaning.role in ("outcome", "post_baseline") and meaning.type == "continuous"]
        named = dict.fromkeys([*self.columns, *numbers])
        columns = {name: self.table.numbers(name)[self.rows] for name in named}
        gone = [(name + MISSING, np.isnan(x).astype(np.float64)) for name, x in columns.items() if RARE <= np.isnan(x).sum() <= len(x) - RARE]
        return [*gone, *((name, columns[name]) for name in self.columns)]
