"""One analysis of real data as the row that `trialsim analyse` prints (schema `trialsim.analysis/1`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trialsim.analysis.analysis import Analysis
from trialsim.analysis.inference import confidence_interval, p_value
from trialsim.analysis.several_arms import several_arms
from trialsim.errors import DataError, Problem
from trialsim.records import FAILURES, AnalysisData, EventData

SCHEMA = "trialsim.analysis/1"


@dataclass(frozen=True, slots=True)
class Labels:
    """What a row is of: analysis, test arm (None: all arms at once), reference arm, visit, population."""

    analysis: str
    test: str | None
    reference: str
    visit: str | None
    population: str = "all_randomized"


def result_row(labels: Labels, method: Analysis, data: AnalysisData, *, favours: int) -> dict[str, Any]:
    """Estimate on the natural scale, standard error on the scale of inference, test, interval at 1 - 2 one-sided alpha.

    `data` has one replicate. What the method does not estimate, or cannot
    (a hazard ratio that is infinite, beside a log-rank test that is not), is None. Raises DataError where the analysis fails.
    """
    found = method.answer(data, favours=favours)
    cause = FAILURES[int(found.failure[0])]
    if cause:
        raise DataError(Problem(f"{cause} ({labels.test} against {labels.reference})", path=f"analyses.{labels.analysis}"))

    def number(field: Any) -> float | None:
        return None if field is None or not math.isfinite(field[0]) else float(field[0])

    is_ratio = (method.std_error_scale or "").startswith("log_")
    interval = confidence_interval(found, alpha_one_sided=method.alpha_one_sided)
    estimate, std_error = number(found.estimate), number(found.std_error)
    low, high = (number(limit) for limit in interval or (None, None))
    if is_ratio:
        estimate, low, high = (None if value is None else _exp(value) for value in (estimate, low, high))
    return {
        "analysis": labels.analysis,
        "method": getattr(method, "method", None),
        "test": labels.test,
        "reference": labels.reference,
        "visit": labels.visit,
        "population": labels.population,
        "estimate": estimate,
        "scale": None if estimate is None else method.scale,
        "std_error": std_error,
        "std_error_scale": None if std_error is None else method.std_error_scale,
        "ci_low": low,
        "ci_high": high,
        "statistic": number(found.statistic),
        "df": number(found.df),
        "p_value": number(p_value(found, sides=method.tested_sides)),
        "n": int(found.n[0]),
        "n_events": None if found.n_events is None else int(found.n_events[0]),
    }


def any_difference_row(labels: Labels, method: Analysis, data: EventData) -> dict[str, Any]:
    """The log-rank test of any difference between all arms: `statistic` is chi-squared with `df`, without direction or estimate."""
    chi_square, df, p = several_arms(data)
    if math.isnan(chi_square[0]):
        raise DataError(Problem("the arms cannot be compared: no events, or patients of one arm only", path=f"analyses.{labels.analysis}"))
    empty = dict.fromkeys(("estimate", "scale", "std_error", "std_error_scale", "ci_low", "ci_high"))
    return {
        "analysis": labels.analysis,
        "method": getattr(method, "method", None),
        "test": None,
        "reference": labels.reference,
        "visit": labels.visit,
        "population": labels.population,
        **empty,
        "statistic": float(chi_square[0]),
        "df": float(df[0]),
        "p_value": float(p[0]),
        "n": int((data.time >= 0).sum()),
        "n_events": int((data.event & (data.time >= 0)).sum()),
    }


def _exp(value: float) -> float | None:
    """None where the number is beyond floating point: the result is printed as JSON, which has no infinity."""
    return math.exp(value) if value < 700 else None
