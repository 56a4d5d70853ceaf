"""The story of one simulated trial: who was enrolled, every look's statistic against its bounds, why it stopped.

It is told from the record alone, so that a replayed trial and a stored one have the same story. Times are in days; `z`
is positive where it favours the test arm; estimates are on the scale of inference (`scale`). What does not exist is null.

`decision` of an analysis at a look: reject, reject_wrong_direction, stop_futility; continue; not_rejected (there is no
later look); already_decided (at an earlier look). `reason` of the stop: efficacy, wrong_direction, futility, decided (the
analyses differently), target_not_reached (all looks left collapse into this one), last_look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from trialsim.conduct.comparison import PlannedAnalysis
from trialsim.design import HazardRatioAbove
from trialsim.records import FAILURES, AnalysisRecord, TrialRecord
from trialsim.simulate import Trial

CROSSED = {"reject": "reject", "reject_wrong_direction": "reject_wrong_direction", "futile": "stop_futility"}
_REASONS = {"reject": "efficacy", "reject_wrong_direction": "wrong_direction", "stop_futility": "futility"}
_BOUNDS = {"reject": "its efficacy bound", "reject_wrong_direction": "its efficacy bound in the wrong direction", "stop_futility": "its futility bound"}


def story(trial: Trial, record: TrialRecord, replicate: int) -> dict[str, Any]:
    """One replicate of the record."""
    row = replicate - record.block.first
    stop = int(record.stop_look[row]) - 1
    reason, why = _why(trial, record, row, stop)
    return {
        "replicate": replicate,
        "allocated": {arm: int(count[row]) for arm, count in record.n_per_arm.items()},
        "n_enrolled": int(record.n_enrolled[row, stop]),
        "duration": float(record.cut_time[row, stop]),
        "stop_look": stop + 1,
        "target_not_reached": bool(record.target_not_reached[row]),
        "reason": reason,
        "why": why,
        "looks": [
            {
                "look": look + 1,
                "name": record.looks[look],
                "look_time": float(record.cut_time[row, look]),
                "n_enrolled": int(record.n_enrolled[row, look]),
                "n_events": {endpoint: int(count[row, look]) for endpoint, count in record.n_events.items()},
                "analyses": {
                    name: _finding(trial.analyses[name], analysis, row, look, stop)
                    for name, analysis in record.analyses.items()
                    if look in trial.analyses[name].looks or (not trial.analyses[name].looks and look == stop)
                },
            }
            for look in range(stop + 1)
        ],
    }


def _finding(plan: PlannedAnalysis, analysis: AnalysisRecord, row: int, look: int, stop: int) -> dict[str, Any]:
    def number(column: Tensor | None) -> float | None:
        return None if column is None or math.isnan(column[row, look]) else float(column[row, look]) + 0.0  # no negative zero

    estimate = number(analysis.estimate)
    return {
        "z": number(analysis.z),
        "efficacy_z": number(analysis.efficacy_z),
        "futility_z": number(analysis.futility_z),
        "futility_hazard_ratio": _futility_hazard_ratio(plan, look),
        "estimate": estimate,
        "std_error": number(analysis.std_error),
        "scale": None if estimate is None else plan.method.std_error_scale,
        "df": number(analysis.df),
        "n": int(analysis.n[row, look]),
        "n_events": None if analysis.n_events is None else int(analysis.n_events[row, look]),
        "failure": FAILURES[int(analysis.failure[row, look])] or None,
        "decision": _decision(plan, analysis, row, look, stop),
    }


def _futility_hazard_ratio(plan: PlannedAnalysis, look: int) -> float | None:
    """The hazard ratio above which the look is futile, where the rule is one; its `futility_z` is then approximate."""
    rule = plan.monitoring.futility
    if not isinstance(rule, HazardRatioAbove) or look not in plan.looks:
        return None
    own = plan.looks.index(look)
    return rule.hazard_ratio_above[own] if own < len(rule.hazard_ratio_above) else None


def _crossings(analysis: AnalysisRecord, row: int, until: int) -> Iterator[tuple[int, str]]:
    """Looks (from 0) up to and including `until` at which a bound was crossed, and which."""
    for look in range(until + 1):
        for column, decision in CROSSED.items():
            if bool(getattr(analysis, column)[row, look]):
                yield look, decision


def _decision(plan: PlannedAnalysis, analysis: AnalysisRecord, row: int, look: int, stop: int) -> str:
    crossed = next(_crossings(analysis, row, look), None)
    if crossed is not None:
        return crossed[1] if crossed[0] == look else "already_decided"
    return "not_rejected" if look == stop or look == plan.looks[-1] else "continue"


def _why(trial: Trial, record: TrialRecord, row: int, stop: int) -> tuple[str, str]:
    """Why the trial stopped where it did: in a word, and in a sentence."""
    here = record.looks[stop]
    last = stop == len(record.looks) - 1
    monitored = [name for name in record.analyses if trial.analyses[name].looks]
    crossed: Mapping[str, tuple[int, str]] = {name: found for name in monitored if (found := next(_crossings(record.analyses[name], row, stop), None))}
    said = [f"{name} crossed {_BOUNDS[decision]} at {record.looks[look]}" for name, (look, decision) in crossed.items()]
    open_ = [name for name in monitored if name not in crossed]
    short = "its target was not reached" if bool(record.target_not_reached[row]) else ""
    if monitored and not open_:
        reasons = {_REASONS[decision] for _, decision in crossed.values()}
        return (reasons.pop() if len(reasons) == 1 else "decided"), "; ".join([*said, *([short] if short else [])])
    said += [f"{name} did not cross its efficacy bound" for name in open_]
    if short and not last:
        return "target_not_reached", "; ".join([f"the target of {here} was not reached, so that no look could follow", *said])
    return "last_look", "; ".join([f"{here} was the last look", *([short] if short else []), *said])
