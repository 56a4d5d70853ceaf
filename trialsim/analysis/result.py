"""One analysis of real data as the row that `trialsim analyse` prints (schema `trialsim.analysis/1`)."""

from __future__ import annotations

import math
from typing import Any

from trialsim.analysis.analysis import Analysis
from trialsim.analysis.inference import confidence_interval, p_value
from trialsim.errors import DataError, Problem
from trialsim.records import FAILURES, AnalysisData

SCHEMA = "trialsim.analysis/1"


def result_row(
    name: str, method: Analysis, data: AnalysisData, *, favours: int, test: str, reference: str, visit: str | None, population: str
) -> dict[str, Any]:
    """Estimate on the natural scale, standard error on the scale of inference, test, interval at 1 - 2 one-sided alpha.

    `data` has one replicate. What the method does not estimate, or cannot
    (a hazard ratio that is infinite, beside a log-rank test that is not), is None. Raises DataError where the analysis fails.
    """
    found = method.answer(data, favours=favours)
    cause = FAILURES[int(found.failure[0])]
    if cause:
        raise DataError(Problem(f"{cause} ({test} against {reference})", path=f"analyses.{name}"))

    def number(field: Any) -> float | None:
        return None if field is None or math.isnan(field[0]) else float(field[0])

    is_ratio = (method.std_error_scale or "").startswith("log_")
    interval = confidence_interval(found, alpha_one_sided=method.alpha_one_sided)
    estimate, std_error = number(found.estimate), number(found.std_error)
    low, high = (number(limit) for limit in interval or (None, None))
    if is_ratio:
        estimate, low, high = (None if value is None else _exp(value) for value in (estimate, low, high))
    return {
        "analysis": name,
        "method": getattr(method, "method", None),
        "test": test,
        "reference": reference,
        "visit": visit,
        "population": population,
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


def _exp(value: float) -> float | None:
    """None where the number is beyond floating point: the result is printed as JSON, which has no infinity."""
    return math.exp(value) if value < 700 else None
