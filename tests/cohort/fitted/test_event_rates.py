"""Synthetic tables have the data's events per time at risk in every arm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trialsim.cohort.fitted import FittedCohort
from trialsim.cohort.fitted.event_rates import with_event_rates
from trialsim.data import PatientTable


def _rate(time: np.ndarray, event: np.ndarray) -> float:
    return float(event.sum() / time.sum())


def test_rates_of_arms_are_those_of_the_data(actg_cohort: FittedCohort, actg_table: PatientTable):
    """Hazards are spoiled by a half and a double, and found again. 200,000 other patients: SE of a log rate at most 0.009; the 320,000 that set it add 0.007."""
    assert actg_cohort.outcomes is not None
    time, event = actg_table.numbers("days"), actg_table.numbers("cens")
    treated = actg_table.numbers("treat") == 1
    event_model = actg_cohort.outcomes.events["event"]
    spoiled = {name: tuple(h * (0.5 if name == "zdv" else 2.0) for h in row) for name, row in event_model.varied.hazards.items()}
    outcomes = replace(actg_cohort.outcomes, events={"event": replace(event_model, varied=replace(event_model.varied, hazards=spoiled))})
    names = actg_cohort.outcomes.names
    arm = np.where(treated, names.index("combination"), names.index("zdv"))
    mended = with_event_rates(replace(actg_cohort, outcomes=outcomes), {"event": (time, event)}, arm)
    drawn = mended.synthesise(200_000, seed=8)
    for rows, theirs in ((treated, drawn.numbers("treat") == 1), (~treated, drawn.numbers("treat") == 0)):
        synthetic = _rate(drawn.numbers("days")[theirs], drawn.numbers("cens")[theirs])
        assert np.log(synthetic / _rate(time[rows], event[rows])) == pytest.approx(0.0, abs=4 * np.hypot(0.009, 0.007))
    assert mended.outcomes is not None
    assert mended.outcomes.events["event"].arm_log_hr == event_model.arm_log_hr  # what trials use stays


def test_arms_with_few_events_are_left(actg_cohort: FittedCohort):
    assert actg_cohort.outcomes is not None
    arm = np.zeros(30, dtype=np.int64)
    few = with_event_rates(actg_cohort, {"event": (np.full(30, 100.0), np.r_[np.ones(5), np.zeros(25)])}, arm, patients=6_400)
    assert few.outcomes is not None
    assert few.outcomes.events["event"].varied.hazards == actg_cohort.outcomes.events["event"].varied.hazards
