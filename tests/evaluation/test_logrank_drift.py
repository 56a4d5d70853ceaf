"""The log-rank drift against gsDesign2's average hazard ratios and rpact's simulated power."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from trialsim.conduct.expectation import expected_course
from trialsim.evaluation.logrank_drift import logrank_drift

MONTH = 30.4375
REFERENCE = Path(__file__).parents[1] / "reference"
RATE = math.log(2) / 10 / MONTH


def course(pieces, *, share=(1, 1), n=400, rates=(RATE,), weights=(1.0,)):
    """Exponential reference arm (one rate a stratum) and a hazard ratio by months in the test arm."""

    def survival(arm, times):
        total, start = np.zeros_like(times), 0.0
        for until, ratio in pieces if arm == 1 else [(math.inf, 1.0)]:
            total += ratio * np.maximum(np.minimum(times, until * MONTH) - start, 0.0)
            start = until * MONTH
        return np.exp(-np.outer(rates, total))

    patients = np.repeat(np.arange(len(rates)), np.round(10 * np.array(weights)).astype(int)) if len(rates) > 1 else None
    return expected_course(
        entry_time=(np.arange(n) + 0.5) * 12 * MONTH / n,
        share=share,
        survival=survival if patients is None else lambda arm, times: survival(arm, times)[patients],
        retention=lambda arm, times: np.exp(-0.001 / MONTH * times)[None],
        stratum=patients,
    )


@pytest.mark.parametrize(("scenario", "fun"), [("ph07", "ahr"), ("delay3", "ahr"), ("delay6", "ahr"), ("crossing", "expected_time"), ("null", "expected_time")])
def test_average_hazard_ratio_of_gsdesign2(scenario, fun):
    with (REFERENCE / "expected_events_gsDesign2.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["scenario"] == scenario and row["fun"] == fun]
    ratios = [float(ratio) for ratio in rows[0]["hr"].split(";")]
    ends = [*(float(end) for end in rows[0]["hr_duration"].split(";")[:-1]), math.inf]
    months = [float(row["value"]) for row in rows if row["output"] == "time"]
    expected = [float(row["value"]) for row in rows if row["output"] == "ahr"]
    drift = logrank_drift(course(list(zip(ends, ratios, strict=True))), test=1, reference=0, calendar=[month * MONTH for month in months])
    assert drift.average_hazard_ratio == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("label", "pieces"),
    [
        ("fixed TTE HR=1 250 events", [(math.inf, 1.0)]),
        ("fixed TTE HR=0.8 250 events", [(math.inf, 0.8)]),
        ("fixed TTE HR=0.7 250 events", [(math.inf, 0.7)]),
        ("crossing logrank fixed", [(4, 1.4), (math.inf, 0.55)]),
        ("diminishing logrank fixed", [(6, 0.5), (math.inf, 1.0)]),
    ],
)
def test_power_that_rpact_simulated(label, pieces):
    """Under crossing and waning hazards too, where the average hazard ratio is 0.015 off."""
    with (REFERENCE / "simulated_survival_rpact.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if row["label"] == label and row["output"] == "overallReject")
    found = course(pieces)
    drift = logrank_drift(found, test=1, reference=0, calendar=[found.time_of_events(250)])
    assert abs(float(ndtr(drift.mean_z[0] - 1.959964)) - float(row["value"])) <= 3 * float(row["mcse"])


def test_small_effects_follow_schoenfeld():
    """E[Z] -> −log(hr) √(d r (1 − r)) as the effect vanishes, at any allocation."""
    found = course([(math.inf, 0.99)], share=(1, 2))
    calendar = found.time_of_events(250)
    drift = logrank_drift(found, test=1, reference=0, calendar=[calendar])
    assert drift.mean_z[0] == pytest.approx(-math.log(0.99) * math.sqrt(250 * 2 / 9), rel=2e-3)
    assert drift.information[0] == pytest.approx(250 * 2 / 9, rel=2e-3)


def test_stratification_removes_the_attenuation_of_a_prognostic_factor():
    pieces, rates, weights = [(math.inf, 0.6)], (RATE / 4, RATE * 4), (0.5, 0.5)
    stratified = course(pieces, rates=rates, weights=weights)
    pooled = expected_course(
        entry_time=stratified.entry_time,
        share=(1, 1),
        survival=lambda arm, times: np.exp(-np.outer(rates, times) * (0.6 if arm == 1 else 1.0)),
        retention=lambda arm, times: np.exp(-0.001 / MONTH * times)[None],
    )
    calendar = [pooled.time_of_events(250)]
    assert stratified.events(calendar[0]) == pytest.approx(250, abs=0.5)
    with_strata, without = (logrank_drift(found, test=1, reference=0, calendar=calendar) for found in (stratified, pooled))
    assert with_strata.average_hazard_ratio[0] == pytest.approx(0.6, abs=1e-5)
    assert with_strata.mean_z[0] > without.mean_z[0] + 0.3


def test_swapping_arms_turns_the_sign():
    found = course([(3, 1.0), (math.inf, 0.6)])
    one, other = (logrank_drift(found, test=test, reference=1 - test, calendar=[600.0]) for test in (1, 0))
    assert other.mean_z == pytest.approx(-one.mean_z, rel=1e-9)
    assert other.average_hazard_ratio == pytest.approx(1 / one.average_hazard_ratio)


def test_before_any_event_there_is_no_information():
    drift = logrank_drift(course([(math.inf, 0.7)]), test=1, reference=0, calendar=[0.0])
    assert drift.information[0] == 0.0
    assert drift.mean_z[0] == 0.0
    assert math.isnan(drift.average_hazard_ratio[0])
