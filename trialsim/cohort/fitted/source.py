"""From a data file and its card to a fitted cohort, fitted once and then found in the cache."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.columns import Array, Covariate, arm_index, covariates_of
from trialsim.cohort.fitted.dependence import GaussianFactors
from trialsim.cohort.fitted.dependence.gaussian_factors import fit_copula
from trialsim.cohort.fitted.events import FittedEvent, fit_event
from trialsim.cohort.fitted.features import design_matrix, terms_of
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.links import Baseline, calibrated, correlation_errors
from trialsim.cohort.fitted.margins import Scores, SmoothMargin
from trialsim.cohort.fitted.storage import cache_file, code_version
from trialsim.cohort.fitted.values import FittedValue, fit_value
from trialsim.data import Card, PatientTable, load_card, read_table, shown_path
from trialsim.errors import DataError, NotSupportedError, Problem, did_you_mean
from trialsim.units import TIME_UNITS

if TYPE_CHECKING:
    from trialsim.cohort.population import DataSource

FEWEST = 50
BASELINE = "baseline"


def fit_source(source: DataSource, directory: Path) -> FittedCohort:
    """The cohort model of a protocol's `population.source`; `directory` is the protocol's folder.

    Cached by the content of the data, the card, the options and the code under `$TRIALSIM_CACHE` (else
    `~/.cache/trialsim`). Raises DataError where the card is missing or permits no simulation (before the data are read
    for anything else), and where the data do not fit the protocol; it names files as they can be opened from here.
    """
    if source.model != "copula":
        raise NotSupportedError(f"population.source.model {source.model}")
    if source.card is None:
        raise DataError(Problem("has no card (population.source.card), so no model is fitted to it", file=shown_path(directory / source.data)))
    card_file, data_file = directory / source.card, directory / source.data
    card = load_card(card_file, shown=shown_path(card_file))
    card.require("simulate", file=shown_path(card_file))
    table = read_table(data_file, card, shown=shown_path(data_file))
    file = cache_file(content_key(table, card, source))
    if file.exists():
        try:
            return FittedCohort.load(file)
        except DataError:  # an unreadable cache entry is fitted anew
            file.unlink(missing_ok=True)
    cohort = fit_cohort(table, source)
    with suppress(OSError):  # a cache that cannot be written only costs the next run a fit
        cohort.save(file)
    return cohort


def content_key(table: PatientTable, card: Card, source: DataSource) -> str:
    """SHA-256 of everything the model depends on."""
    options = {**source.model_dump(mode="json", exclude={"data", "card"}), "arms": list(source.arms.items())}
    parts = {"data": table.sha256, "card": card.model_dump(mode="json"), "options": options, "code": code_version()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fit_cohort(table: PatientTable, source: DataSource) -> FittedCohort:
    """Fits margins, copula and outcomes to the rows whose arm is in `arms`. Deterministic: the seed is the content's hash."""
    if table.card is None:
        raise DataError(Problem("has no card, so no model is fitted to it", file=table.file))
    table.card.require("simulate")
    began = time.perf_counter()
    key = content_key(table, table.card, source)
    arm = arm_index(table, source.arm, source.arms)
    rows = arm >= 0
    if rows.sum() < FEWEST:
        raise DataError(Problem(f"{rows.sum()} patients are too few to fit a cohort model to; at least {FEWEST} are needed", file=table.file))
    outcomes = _Outcomes(table, source, rows)
    columns_to_fit, left_out = covariates_of(table, rows=rows, without=outcomes.columns)
    covariates = tuple(covariate for covariate in columns_to_fit if not covariate.hidden)
    if not covariates:
        raise DataError(Problem("there is no column to use as a covariate", file=table.file))
    outcomes.check_baselines([covariate.name for covariate in covariates], left_out)
    with isolated(int(key[:8], 16)):
        columns, copula, scores, error = _fit_baseline(columns_to_fit)
        complete = _complete(columns_to_fit, columns, copula, scores)
        terms = terms_of(covariates, complete)
        design = design_matrix(terms, complete)
        names = tuple(source.arms) or ("all",)
        reference = _reference(source.arms)
        events = {
            name: fit_event(seen, event, arms=names, reference=reference, arm=arm[rows], terms=terms, design=design)
            for name, (seen, event) in outcomes.events.items()
        }
        values = {
            key_: fit_value(column, baseline=outcomes.baselines.get(key_[0]), arms=names, reference=reference, arm=arm[rows], terms=terms, design=design)
            for key_, column in outcomes.values.items()
        }
    card = _card(table, key, covariates, left_out, columns, error, events, values, int(rows.sum()), seconds=time.perf_counter() - began)
    return FittedCohort(columns=columns, dependence=copula, events=events, values=values, card=card)


def _reference(arms: Mapping[str, str | int | float]) -> int:
    """The reference arm: the smallest value where all are numbers (0 is control), else the arm named last."""
    if not arms:
        return 0
    if all(isinstance(value, int | float) for value in arms.values()):
        return int(np.argmin([float(value) for value in arms.values()]))
    return len(arms) - 1


class _Outcomes:
    """The outcome columns that a source names, checked, restricted to `rows`, times in days."""

    def __init__(self, table: PatientTable, source: DataSource, rows: NDArray[np.bool_]):
        from trialsim.cohort.population import EventColumns

        self.table = table
        self.columns: list[str] = [] if source.arm is None else [source.arm]
        self.events: dict[str, tuple[Array, Array]] = {}
        self.values: dict[tuple[str, str], Array] = {}
        self.baselines: dict[str, str] = {}
        for name, outcome in source.outcomes.items():
            if isinstance(outcome, EventColumns):
                self.events[name] = self._event(name, outcome.time, outcome.event, rows)
                self.columns += [outcome.time, outcome.event]
                continue
            for visit, column in outcome.columns.items():
                if visit == BASELINE:
                    table.require(column)
                    self.baselines[name] = column
                else:
                    self.values[name, visit] = self._value(name, visit, column, rows)
                    self.columns.append(column)

    def _event(self, name: str, time_column: str, event_column: str, rows: NDArray[np.bool_]) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):
            seen = self.table.numbers(time_column)[rows] * TIME_UNITS.get(self.table.meaning[time_column].unit, 1.0)
        event = self.table.numbers(event_column)[rows]
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

    def _value(self, name: str, visit: str, column: str, rows: NDArray[np.bool_]) -> Array:
        value = self.table.numbers(column)[rows] * TIME_UNITS.get(self.table.meaning[column].unit, 1.0)
        if (~np.isnan(value)).sum() < FEWEST or np.nanstd(value) == 0:
            raise DataError(Problem(f'the column "{column}" (outcome {name} at {visit}) has too few different values', file=self.table.file))
        return value

    def check_baselines(self, names: list[str], left_out: Mapping[str, str]) -> None:
        for outcome, column in self.baselines.items():
            if column not in names:
                why = left_out.get(column, f"it is an outcome or the arm{did_you_mean(column, names)}")
                raise DataError(Problem(f'the baseline of {outcome}, "{column}", is not a covariate: {why}', file=self.table.file))


def _fit_baseline(covariates: tuple[Covariate, ...]) -> tuple[tuple[FittedColumn, ...], GaussianFactors, list[Scores], float]:
    """Margins, then links between discrete columns where they are needed, then the copula."""
    baseline = Baseline(covariates)
    baseline.find_links()
    copula = fit_copula(baseline.scores, linked=baseline.held_uncorrelated())
    columns = calibrated(baseline.columns(), copula, n=200_000)
    error = correlation_errors(covariates, columns, copula)
    for first, one in enumerate(covariates):
        for second, two in enumerate(covariates):
            bound = one.rule is not None and two.rule is not None and one.rule.source == two.rule.source
            if bound or one.hidden or two.hidden or (one.rule is not None and one.rule.source == two.name):
                error[first, second] = error[second, first] = 0.0
    return columns, copula, baseline.scores, float(error.max())


def _complete(covariates: tuple[Covariate, ...], columns: tuple[FittedColumn, ...], copula: GaussianFactors, scores: list[Scores]) -> dict[str, Array]:
    """Every column as a cohort holds it, with missing cells at their expected score given the patient's other columns."""
    held = {covariate.name: covariate.held() for covariate in covariates}
    z = np.stack([_expected_score(score) for score in scores], axis=1)
    missing = np.isnan(z)
    correlation = copula.correlation().numpy()
    for pattern in np.unique(missing[missing.any(1)], axis=0):
        rows = (missing == pattern).all(1)
        known = ~pattern
        slope = np.linalg.solve(correlation[np.ix_(known, known)], correlation[np.ix_(known, pattern)])
        z[np.ix_(rows, pattern)] = z[np.ix_(rows, known)] @ slope
    guesses = {column.name: torch.zeros(len(z), dtype=torch.float64) for column in columns}
    scored = [column.name for column in columns if column.margin is not None]
    guesses |= {name: torch.from_numpy(z[:, place].copy()) for place, name in enumerate(scored)}
    FittedCohort(columns=columns, dependence=copula, events={}, values={}, card={}).from_scores(guesses)
    return {name: np.where(np.isnan(column), guesses[name].numpy(), column) for name, column in held.items()}


def _expected_score(score: Scores) -> Array:
    """The score where exact, the mean of a normal within its interval else, NaN where missing."""
    low, high = score.ends[:, 0], score.ends[:, 1]
    density = np.exp(-0.5 * score.ends**2) / np.sqrt(2.0 * np.pi)
    mean = (density[:, 0] - density[:, 1]) / np.maximum(ndtr(high) - ndtr(low), 1e-300)
    out = score.exact.copy()
    within = score.interval >= 0
    out[within] = mean[score.interval[within]]
    return out


def _card(
    table: PatientTable,
    key: str,
    covariates: tuple[Covariate, ...],
    left_out: Mapping[str, str],
    columns: tuple[FittedColumn, ...],
    error: float,
    events: Mapping[str, FittedEvent],
    values: Mapping[tuple[str, str], FittedValue],
    n: int,
    *,
    seconds: float,
) -> dict[str, Any]:
    assert table.card is not None
    return {
        "model": "copula",
        "key": key,
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
        "left_out": dict(left_out),
        "rules": {c.name: f"follows from {c.rule.source}" for c in covariates if c.rule is not None},
        "links": {c.name: list(c.margin.parents) for c in columns if c.margin is not None and not isinstance(c.margin, SmoothMargin) and c.margin.parents},
        "missing": {c.name: int(np.isnan(c.column).sum()) for c in covariates if np.isnan(c.column).any()},
        "largest_correlation_error": error,
        "events": {name: {"log_hr": dict(e.arm_log_hr), "log_hr_sd": dict(e.log_hr_sd), "reference": e.reference} for name, e in events.items()},
        "values": {
            f"{outcome} at {visit}": {
                "difference": dict(v.arm_difference),
                "difference_sd": dict(v.difference_sd),
                "residual_sd": v.sd,
                "reference": v.reference,
            }
            for (outcome, visit), v in values.items()
        },
        "assumptions": [
            "outcomes are independent of each other given the baseline and the arm",
            "hazards are proportional",
            "residuals of values are normal with one SD",
        ],
    }
