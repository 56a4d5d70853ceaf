"""What each single trial contributes to the operating characteristics that are means over trials.

    TrialRecord ──► {Column: value of each replicate}

A mean of such a column is a row of the results of the same name (whole trial, no look). Precision targets and paired
comparisons work on the columns, before anything is averaged. A value is NaN where a trial has none (its analysis failed,
or was never made). Sizes and times are at the cut where the trial stopped; estimates are of the last look at which the
analysis was made. `power` of a two-sided test counts both directions.

Not here: quantiles, bias, coverage (they need the true value), and measures of single looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trialsim.evaluation.decisions import made, rejections
from trialsim.evaluation.trial_sizes import stopping_values
from trialsim.records import AnalysisRecord, TrialRecord

SHARES = ("power", "power_ignoring_futility", "power_all", "reject_wrong_direction", "convergence_failure", "target_not_reached")
"""Measures whose values are 0 or 1."""
MEANS = ("n_enrolled", "n_events", "duration", "estimate_mean", "model_se_mean", "allocated")
_SIZES = {"n_enrolled": "patients", "n_events": "events", "duration": "days"}


class Column(NamedTuple):
    """What the values are of, labelled as the result row that is their mean."""

    analysis: str | None
    endpoint: str | None
    arm: str | None
    measure: str
    scale: str


@dataclass(frozen=True, slots=True)
class AnalysisLabels:
    """What an entry of `TrialRecord.analyses` is: an analysis, or one arm of an analysis with several. `scale` as in Comparison."""

    analysis: str
    endpoint: str | None
    arm: str | None
    sides: int
    scale: str | None
    families: tuple[str, ...] = ()


def trial_values(record: TrialRecord, labels: Mapping[str, AnalysisLabels]) -> dict[Column, np.ndarray]:
    """Every column of a chunk of trials, float64 `[replicate]`, in an order that does not depend on the values."""
    found: dict[Column, np.ndarray] = {}
    for name, values in stopping_values(record).items():
        measure, _, endpoint = name.partition("/")
        found[Column(None, endpoint or None, None, measure, _SIZES[measure])] = values
    for arm, count in record.n_per_arm.items():
        found[Column(None, None, arm, "allocated", "patients")] = count.numpy().astype(np.float64)
    found[Column(None, None, None, "target_not_reached", "probability")] = _indicator(record.target_not_reached.numpy())
    by_analysis: dict[str, list[str]] = {}
    spanning: dict[str, list[str]] = {}
    rejections_of: dict[str, np.ndarray] = {}
    for name, entry in labels.items():
        analysis = record.analyses[name]
        rejected = np.logical_or.reduce(rejections(analysis, entry.sides), axis=1)
        rejections_of[name] = rejected
        by_analysis.setdefault(entry.analysis, []).append(name)
        for family in entry.families:
            spanning.setdefault(family, []).append(name)
        shares: dict[str, np.ndarray] = {"power": rejected}
        if analysis.ignoring_futility is not None:
            shares["power_ignoring_futility"] = analysis.ignoring_futility.numpy()
        if entry.sides == 2:
            shares["reject_wrong_direction"] = np.logical_or.reduce(analysis.reject_wrong_direction.numpy(), axis=1)
        shares["convergence_failure"] = _failed(analysis)
        for measure, hits in shares.items():
            found[Column(entry.analysis, entry.endpoint, entry.arm, measure, "probability")] = _indicator(hits)
        if analysis.estimate is not None and analysis.std_error is not None:
            estimate, std_error = _final(analysis)
            for measure, values in (("estimate_mean", estimate), ("model_se_mean", std_error)):
                found[Column(entry.analysis, entry.endpoint, entry.arm, measure, entry.scale or "inference")] = values
    for family, names in ({analysis: names for analysis, names in by_analysis.items() if len(names) > 1} | spanning).items():
        endpoints = {labels[name].endpoint for name in names}
        shared = endpoints.pop() if len(endpoints) == 1 else None
        members = [rejections_of[name] for name in names]
        found[Column(family, shared, None, "power", "probability")] = _indicator(np.logical_or.reduce(members))
        found[Column(family, shared, None, "power_all", "probability")] = _indicator(np.logical_and.reduce(members))
        ignoring = {name: record.analyses[name].ignoring_futility for name in names}
        if any(flags is not None for flags in ignoring.values()):
            without = [rejections_of[name] if flags is None else flags.numpy() for name, flags in ignoring.items()]
            found[Column(family, shared, None, "power_ignoring_futility", "probability")] = _indicator(np.logical_or.reduce(without))
    return found


def _indicator(hits: np.ndarray) -> np.ndarray:
    return hits.astype(np.float64)


def _failed(analysis: AnalysisRecord) -> np.ndarray:
    """Whether the analysis failed, or its estimate was infinite, at any look."""
    failed = analysis.failure.numpy() != 0
    if analysis.estimate is not None:
        failed = failed | (made(analysis) & ~np.isfinite(analysis.estimate.numpy()))
    return np.asarray(failed.any(axis=1))


def _final(analysis: AnalysisRecord) -> tuple[np.ndarray, np.ndarray]:
    """Estimate and standard error at the last look at which the analysis was made; NaN, both, where either is not finite."""
    assert analysis.estimate is not None
    assert analysis.std_error is not None
    there = made(analysis)
    last = there.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)
    at = (np.arange(len(last)), last)
    estimate, std_error = analysis.estimate.numpy()[at], analysis.std_error.numpy()[at]
    usable = there.any(axis=1) & np.isfinite(estimate) & np.isfinite(std_error)
    return np.where(usable, estimate, np.nan), np.where(usable, std_error, np.nan)
