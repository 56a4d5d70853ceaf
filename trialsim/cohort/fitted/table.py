"""One fitted model of a whole table: covariates, arm, outcomes, and which cells are missing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from trialsim.cohort.fitted.baseline import FittedBaseline, fit_baseline
from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.columns import FEWEST, MISSING, RARE, Covariate, Described, arm_index, arms_of, describe, unit_of
from trialsim.cohort.fitted.completion import completed
from trialsim.cohort.fitted.event_rates import PATIENTS, with_event_rates
from trialsim.cohort.fitted.features import design_matrix, terms_of
from trialsim.cohort.fitted.form import TableForm, WrittenColumn
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.margins import SteppedMargin
from trialsim.cohort.fitted.outcome_columns import NamedOutcomes
from trialsim.cohort.fitted.outcomes import Companions, FittedOutcomes, fit_outcomes
from trialsim.cohort.fitted.resolution import exact, grid_of
from trialsim.cohort.fitted.rules import Copy
from trialsim.cohort.fitted.storage import code_version
from trialsim.cohort.fitted.timed_outcomes import fit_phases
from trialsim.cohort.population import ArmValue, OutcomeColumns
from trialsim.data import Column, PatientTable
from trialsim.data.card import Purpose
from trialsim.data.governance.consent import Permission, permitted
from trialsim.errors import DataError, Problem, did_you_mean

_OUTCOMES: TypeAdapter[dict[str, OutcomeColumns]] = TypeAdapter(dict[str, OutcomeColumns])
_IDENTIFIER = re.compile(r"(^|[_.\- ])(id|no|nr|nbr|num|number|record|mrn|usubjid|subjid)([_.\- ]|$)|^(pid|sid)\w*|\w+(id|num|no)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """What a model of a table is asked to be. `arms` are each arm's name and its value in the arm column; empty: all there are."""

    model: str
    outcomes: Mapping[str, OutcomeColumns]
    arm: str | None
    arms: Mapping[str, ArmValue]
    purpose: Purpose
    on: date
    randomised: bool = False
    reference: str | None = None
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """The options for a card."""
        outcomes = {name: outcome.model_dump(mode="json") for name, outcome in self.outcomes.items()}
        arms = list(self.arms.items())
        return {
            "model": self.model,
            "outcomes": outcomes,
            "arm": self.arm,
            "arms": [list(pair) for pair in arms],
            "purpose": self.purpose,
            "on": self.on.isoformat(),
            "randomised": self.randomised,
            "reference": self.reference,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Options:
        """The options that were written."""
        outcomes, arms = _OUTCOMES.validate_python(given["outcomes"]), dict(given["arms"])
        return cls(**{**given, "outcomes": outcomes, "arms": arms, "on": date.fromisoformat(given["on"])})


PATIENTS_AGAIN = 64_000  # drawn to set the rates of a refit


def fit_table(
    table: PatientTable,
    *,
    model: str = "copula",
    outcomes: Mapping[str, OutcomeColumns] | None = None,
    arm: str | None = None,
    arms: Mapping[str, ArmValue] | None = None,
    purpose: Purpose = "simulate",
    on: date,
    randomised: bool = False,
    reference: str | None = None,
    seed: int = 0,
    like: FittedCohort | None = None,
) -> FittedCohort:
    """A model of the whole table, from which trials draw baselines and `synthesise` writes tables.

    Rows that may not be used for `purpose` on the day `on` are dropped before anything else; so are rows of no arm of
    `arms` (default: all). The joint model is

        P(table) = P(covariates, arm, which of their cells are missing) · P(outcomes, censoring, missing outcomes | covariates, arm)

    The first factor is margins and a `Dependence` of the kind `model`. The arm is a stepped column in it, so that a
    treatment that was chosen stays tied to what it was chosen by; with `randomised` it is drawn on its own, with its shares.
    Columns that tell the arm are drawn given it; what their levels add to an outcome within an arm is in synthetic tables
    alone. Whether a cell is missing is a column in it too, so
    that missingness goes with everything else; a covariate and its own missingness are held uncorrelated, for no data say
    otherwise (its margin is that of the cells that were seen). The second factor is `fit_outcomes` and `fit_phases`. Columns that follow from
    others are rules; `like`, fitted to other rows with the same options, saves time and changes nothing else.

    Raises DataError (every problem it finds in the outcomes' columns is one line): no card, no licence or purpose, too few rows.
    Deterministic: fits that draw random numbers (flows) are seeded by the hash of the content, the options and `seed`.
    """
    options = Options(model, dict(outcomes or {}), arm, dict(arms or {}), purpose, on, randomised, reference, seed)
    permission = permitted(table, purpose, on=on)
    return _fit(permission.apply(table), options, permission, like)


def content_key(table: PatientTable, options: Options) -> str:
    """SHA-256 of everything a model depends on."""
    assert table.card is not None
    asked = {name: value for name, value in options.as_json().items() if name != "on"}
    rows = hashlib.sha256(table.rows.astype(np.int64).tobytes()).hexdigest()
    parts = {"data": table.sha256, "rows": rows, "card": table.card.model_dump(mode="json"), "options": asked, "code": code_version()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _fit(table: PatientTable, options: Options, permission: Permission, like: FittedCohort | None) -> FittedCohort:
    key = content_key(table, options)
    arms = dict(options.arms) or (arms_of(table, options.arm) if options.arm is not None else {})
    index = arm_index(table, options.arm, arms)
    rows = index >= 0
    if rows.sum() < FEWEST:
        raise DataError(Problem(f"{rows.sum()} patients are too few to fit a cohort model to; at least {FEWEST} are needed", file=table.file))
    names = tuple(arms) or ("all",)
    _check_arms(table, options.arm, names, index)
    identifiers = _identifiers(table, options)
    named = NamedOutcomes(table, options.outcomes, rows)
    named.add_others(options.arm)
    after = {*named.columns, *named.rules, *named.constants, *named.left_out}
    arm = None if options.arm is None else (options.arm, index, names)
    described = describe(table, rows=rows, without={*after, *identifiers}, arm=arm, missing=True)
    covariates = tuple(covariate for covariate in described.covariates if not covariate.hidden)
    left_out = {name: why for name, why in {**described.left_out, **named.left_out}.items() if name not in identifiers}
    if not covariates:
        raise DataError(Problem("there is no column to use as a covariate", file=table.file))
    named.check_baselines([covariate.name for covariate in covariates], left_out)
    with isolated(int(key[:8], 16)):
        alone = {options.arm} if options.randomised and options.arm is not None else set()
        baseline = fit_baseline(described.covariates, model=options.model, arm=options.arm, alone=alone, like=None if like is None else like.dependence)
        complete = completed(described.covariates, baseline.columns, baseline.dependence, baseline.scores)
        terms = terms_of(covariates, complete)
        design, place = design_matrix(terms, complete), _reference(arms, options.reference, table)
        known = None if like is None else like.outcomes
        common: dict[str, Any] = {"events": named.events, "values": named.values, "arm": index[rows], "reference": place, "design": design, "like": known}
        common["companions"] = _companions(described.covariates)
        fitted = fit_phases(fit_outcomes(baselines=named.baselines, arms=names, terms=terms, **common), **common)
    form = _form(table, options.arm, index, rows, described, named, identifiers, left_out)
    card = _card(table, key, options, permission, described, baseline, fitted, left_out, named, int(rows.sum()))
    found = FittedCohort(columns=baseline.columns, dependence=baseline.dependence, card=card, outcomes=fitted, form=form)
    return with_event_rates(found, named.events, index[rows], patients=PATIENTS if like is None else PATIENTS_AGAIN)


def _companions(covariates: Sequence[Covariate]) -> Companions:
    """The levels of what goes with the arm, for the outcomes."""
    found = [covariate for covariate in covariates if covariate.part == "companion"]
    index = {covariate.name: np.nan_to_num(covariate.column, nan=-1.0).astype(np.int64) for covariate in found}
    return Companions(index, {covariate.name: len(covariate.values) for covariate in found})


def _check_arms(table: PatientTable, arm: str | None, names: tuple[str, ...], index: NDArray[np.int64]) -> None:
    """DataError for arms of fewer than 5 patients: they could be told from a synthetic table."""
    if arm is None:
        return
    few = [(name, n) for place, name in enumerate(names) if (n := int((index == place).sum())) < RARE]
    if few:
        raise DataError([Problem(f'the arm "{name}" has {n} patients; at least {RARE} are needed', file=table.file) for name, n in few])


def _reference(arms: Mapping[str, ArmValue], asked: str | None, table: PatientTable) -> int:
    """The reference arm: the one asked for, else the smallest value where all are numbers (0 is control), else the arm named last."""
    if asked is not None:
        if asked not in arms:
            raise DataError(Problem(f'there is no arm "{asked}"{did_you_mean(asked, arms)}', file=table.file))
        return list(arms).index(asked)
    if not arms:
        return 0
    numbers = []
    for value in arms.values():
        try:
            numbers.append(float(value))
        except ValueError:
            return len(arms) - 1
    return int(np.argmin(numbers))


def _identifiers(table: PatientTable, options: Options) -> list[str]:
    """Columns with the role `id`; and where the card describes no columns, those called like one in which nobody has the value of another."""
    named = {options.arm, *_columns_of(options.outcomes)}
    found = [name for name, meaning in table.meaning.items() if meaning.role == "id"]
    if table.card is not None and table.card.columns:
        return found
    for name in table.names:
        if name in named or not _IDENTIFIER.search(name):
            continue
        cells = table.text.get(name)
        if cells is None and name not in table.levels:
            column = table.columns[name]
            if not np.isnan(column).any() and (column == np.round(column)).all() and len(np.unique(column)) == table.n:
                found.append(name)
        elif cells is not None and None not in cells and len(set(cells)) == table.n:
            found.append(name)
    return found


def _columns_of(outcomes: Mapping[str, OutcomeColumns]) -> list[str]:
    return [column for outcome in outcomes.values() for column in (outcome.columns.values() if hasattr(outcome, "columns") else (outcome.time, outcome.event))]


def _form(
    table: PatientTable,
    arm: str | None,
    index: NDArray[np.int64],
    rows: NDArray[np.bool_],
    described: Described,
    named: NamedOutcomes,
    identifiers: list[str],
    left_out: dict[str, str],
) -> TableForm:
    """How each column is written; a rule whose source is not written is left out."""
    written: dict[str, WrittenColumn] = {name: WrittenColumn(name, Column(type="text", role="id"), "identifier") for name in identifiers}
    for name, value in {**described.constants, **named.constants}.items():
        written[name] = WrittenColumn(name, table.meaning[name], "constant", levels=table.levels.get(name, ()), constant=value)
    for covariate in described.covariates:
        if covariate.part in ("baseline", "arm", "companion"):
            written[covariate.name] = _column(table, covariate, rows)
    if arm is not None and arm not in written and arm in table.columns:  # a single arm
        written[arm] = WrittenColumn(arm, table.meaning[arm], "constant", levels=table.levels.get(arm, ()), constant=float(table.columns[arm][rows][0]))
    for name, column in named.time_columns.items():
        scale, _ = unit_of(table.meaning[column].unit)
        written[column] = WrittenColumn(column, _numeric(table, column), "time", scale=scale, grid=grid_of(table.numbers(column)[rows]), outcome=(name, ""))
    for name, column in named.event_columns.items():
        written[column] = _event_column(table, column, name)
    for key, column in named.value_columns.items():
        scale, _ = unit_of(table.meaning[column].unit)
        written[column] = WrittenColumn(column, _numeric(table, column), "value", scale=scale, grid=grid_of(table.numbers(column)[rows]), outcome=key)
    for column, rule in named.rules.items():
        if rule.source.removesuffix(MISSING) not in written and rule.source not in written:
            left_out[column] = f"it follows from {rule.source}, which is not modelled"
            continue
        grid = exact(grid_of(table.columns[column][rows])) if isinstance(rule, Copy) else None
        codes = () if isinstance(rule, Copy) else rule.values
        levels = table.levels.get(column, ())
        written[column] = WrittenColumn(column, table.meaning[column], "rule", levels=levels, grid=grid, codes=codes, rule=rule)
    baselines = {column: named.baselines[outcome] for (outcome, _), column in named.value_columns.items() if outcome in named.baselines}
    return TableForm(columns=tuple(written[name] for name in table.names if name in written), arm=arm, baselines=baselines)


def _column(table: PatientTable, covariate: Covariate, rows: NDArray[np.bool_]) -> WrittenColumn:
    """A covariate, the arm or a companion."""
    name = covariate.name
    if name in table.text:  # an arm of words
        meaning = Column(type="categorical", role="arm", levels=covariate.levels)
        return WrittenColumn(name, meaning, "column", levels=covariate.levels, codes=tuple(covariate.values.tolist()))
    raw = table.columns[name][rows]
    scale, _ = unit_of(table.meaning[name].unit)
    if covariate.kind == "smooth":
        grid = grid_of(raw)
        return WrittenColumn(name, table.meaning[name], "column", scale=scale, grid=exact(grid) if isinstance(covariate.rule, Copy) else grid)
    codes = []
    for level in range(len(covariate.values)):
        values, counts = np.unique(raw[covariate.column == level], return_counts=True)
        codes.append(float(values[np.argmax(counts)]))
    return WrittenColumn(name, table.meaning[name], "column", levels=table.levels.get(name, ()), scale=scale, codes=tuple(codes))


def _numeric(table: PatientTable, name: str) -> Column:
    """The meaning of a column of outcomes that is written as numbers, whatever form the data have them in."""
    meaning = table.meaning[name]
    if name in table.text or name in table.levels:
        return Column(type="continuous", unit=meaning.unit, role=meaning.role, description=meaning.description)
    return meaning


def _event_column(table: PatientTable, name: str, outcome: str) -> WrittenColumn:
    """The column of an event, in the data's own codes where it is a category."""
    meaning, numbers = table.meaning[name], table.numbers(name)
    if name in table.levels:
        codes = [float(table.columns[name][numbers == value][0]) if (numbers == value).any() else float("nan") for value in (0.0, 1.0)]
        return WrittenColumn(name, meaning, "event", levels=table.levels[name], codes=tuple(codes), outcome=(outcome, ""))
    if name in table.text:
        meaning = Column(type="binary", role="outcome", description=meaning.description)
    return WrittenColumn(name, meaning, "event", codes=(0.0, 1.0), outcome=(outcome, ""))


def _card(
    table: PatientTable,
    key: str,
    options: Options,
    permission: Permission,
    described: Described,
    baseline: FittedBaseline,
    outcomes: FittedOutcomes,
    left_out: Mapping[str, str],
    named: NamedOutcomes,
    n: int,
) -> dict[str, Any]:
    assert table.card is not None
    covariates = [c for c in described.covariates if not c.hidden]
    missing = {c.name: int(np.isnan(c.column).sum()) for c in described.covariates if np.isnan(c.column).any() and c.part != "gate"}
    missing |= {column: count for key_, column in named.value_columns.items() if (count := int(np.isnan(named.values[key_]).sum()))}
    rules = {c.name: f"follows from {c.rule.source}" for c in described.covariates if c.rule is not None}
    links = {c.name: list(c.margin.parents) for c in baseline.columns if isinstance(c.margin, SteppedMargin) and c.margin.parents}
    return {
        "model": options.model,
        "model_id": f"{table.card.id}-{options.model}-{key[:12]}",
        "key": key,
        "purpose": options.purpose,
        "permission": permission.counts(),
        "options": options.as_json(),
        "data": {
            "id": table.card.id,
            "title": table.card.title,
            "source": table.card.source,
            "licence": table.card.licence,
            "citation": table.card.citation,
            "sha256": table.sha256,
        },
        "n": n,
        "covariates": [covariate.name for covariate in covariates],
        "companions": [c.name for c in described.covariates if c.part == "companion"],
        "constants": sorted({*described.constants, *named.constants}),
        "left_out": dict.fromkeys(described.constants, "it is constant") | dict(left_out),
        "rules": rules | {name: f"follows from {rule.source}" for name, rule in named.rules.items() if name not in left_out},
        "links": links,
        "missing": missing,
        "largest_correlation_error": baseline.error,
        "events": {name: {"log_hr": dict(e.arm_log_hr), "log_hr_sd": dict(e.log_hr_sd), "reference": e.reference} for name, e in outcomes.events.items()},
        "values": {
            f"{outcome} at {visit}": {
                "difference": dict(v.arm_difference),
                "difference_sd": dict(v.difference_sd),
                "residual_sd": v.sd,
                "reference": v.reference,
            }
            for (outcome, visit), v in outcomes.values.items()
        },
        "assumptions": [
            "hazards are proportional given the baseline in trials; in synthetic tables prognosis may change between phases of follow-up",
            "what outcomes share beyond the baseline and the arm is a Gaussian copula of their residuals",
            "a covariate's own missing cells are missing at random given the other columns",
        ],
    }
