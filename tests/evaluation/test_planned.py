"""Look rows, scenario rows, look times and drifts of means, from plain arguments."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.stats import norm

from trialsim.conduct.expectation import expected_course
from trialsim.conduct.looks import Look
from trialsim.design import Efficacy, Futility, bounds
from trialsim.evaluation.look_times import ExpectedTrial
from trialsim.evaluation.planned import PlannedLooks, ScenarioLooks, scenario_row
from trialsim.evaluation.value_drift import mean_effect

OBF = TypeAdapter(Efficacy).validate_python({"spending": "lan_demets_obrien_fleming"})


def solved(**given):
    return bounds(**{"efficacy": OBF, "futility": None, "alpha": 0.025, "sides": 1, "information": [0.5, 1.0], **given})


def test_look_rows_follow_sides_and_schoenfeld():
    one = PlannedLooks(design="d", analysis="a", bounds=solved(), is_event=True, targets=[125, 250], look_time=[100.0, math.inf], test_share=0.5).rows()
    two = PlannedLooks(design="d", analysis="a", bounds=solved(alpha=0.05, sides=2), is_event=True, targets=[125, 250], test_share=2 / 3).rows()
    assert [row["n_events"] for row in one] == [125, 250]
    assert one[0]["efficacy_p"] == pytest.approx(0.00152532, abs=1e-8)
    assert two[0]["efficacy_p"] == pytest.approx(2 * 0.00152532, abs=2e-8)
    assert [row["cumulative_alpha"] for row in two] == pytest.approx([0.00305064, 0.05], abs=1e-8)
    assert one[0]["hr_at_boundary"] == pytest.approx(math.exp(-2.962588 / math.sqrt(125 / 4)), rel=1e-6)
    assert two[1]["hr_at_boundary"] == pytest.approx(math.exp(-1.968596 / math.sqrt(250 * 2 / 9)), rel=1e-6)
    assert [row["look_time"] for row in one] == [100.0, None]
    json.dumps(one + two, allow_nan=False)


def test_rows_without_totals_are_null_not_nan():
    made = solved(efficacy=None, futility=TypeAdapter(Futility).validate_python({"z": [None]}))
    rows = PlannedLooks(design="d", analysis="a", bounds=made, is_event=False).rows()
    assert rows[0]["efficacy_z"] is rows[0]["efficacy_p"] is rows[0]["futility_z"] is rows[0]["n"] is rows[0]["hr_at_boundary"] is None
    assert rows[1]["efficacy_z"] == pytest.approx(1.959964, abs=1e-6)
    json.dumps(rows, allow_nan=False)


def looks_at(mean_z, **given):
    return ScenarioLooks(
        **{
            "mean_z": mean_z,
            "information": [1.0, 2.0],
            "look_time": [300.0, 700.0],
            "enrolled": [200, 400],
            "events": [125.0, 250.0],
            "method": "m",
            "source": "s",
            **given,
        }
    )


def test_scenario_row_of_a_fixed_design_is_the_normal_tail():
    made = solved(information=[1.0])
    row = scenario_row(
        design="d",
        scenario="s",
        role="alternative",
        analysis="a",
        bounds=made,
        looks=looks_at([2.8], information=[60.0], look_time=[700.0], enrolled=[400], events=[250.0]),
    )
    assert row["cumulative_power"] == pytest.approx([norm.sf(1.959964 - 2.8)], abs=1e-7)
    assert (row["expected_n"], row["expected_events"], row["expected_duration"]) == (400, 250, 700)
    assert row["stop_futility"] == [0.0]


def test_scenario_row_weighs_looks_by_where_the_trial_stops():
    made = solved(futility=TypeAdapter(Futility).validate_python({"z": [0.0]}))
    row = scenario_row(design="d", scenario="s", role="null_hypothesis", analysis="a", bounds=made, looks=looks_at([0.0, 0.0]))
    stop = 0.5 + norm.sf(made.efficacy_z[0])
    assert row["stop_futility"] == pytest.approx([0.5, 0.0], abs=1e-12)
    assert row["cumulative_power"][0] == pytest.approx(norm.sf(made.efficacy_z[0]), abs=1e-12)
    assert row["cumulative_power"][1] < 0.025
    assert row["expected_n"] == pytest.approx(200 * stop + 400 * (1 - stop))
    assert row["expected_duration"] == pytest.approx(300 * stop + 700 * (1 - stop))
    with_others = scenario_row(design="d", scenario="s", role="null_hypothesis", analysis="a", bounds=made, looks=looks_at([0.0, 0.0]), alone=False)
    assert with_others["expected_n"] is with_others["expected_duration"] is None


def test_two_sided_power_counts_both_directions_and_looks_not_made_are_padded():
    made = solved(alpha=0.05, sides=2)
    row = scenario_row(design="d", scenario="s", role="null_hypothesis", analysis="a", bounds=made, looks=looks_at([0.0, 0.0]), n_looks=3)
    assert row["cumulative_power"] == pytest.approx([0.00305064, 0.05, 0.05], abs=1e-8)
    assert row["stop_futility"] == [0.0, 0.0, 0.0]


def expected_trial() -> ExpectedTrial:
    entry = np.arange(1.0, 101.0)
    course = expected_course(entry_time=entry, share=[1, 1], survival=lambda arm, t: np.exp(-0.01 * t)[None], retention=lambda arm, t: np.ones((1, len(t))))
    return ExpectedTrial(entry, np.array([0.5, 0.5]), {"os": course}, {"w26": 182.0}, {"w26": np.array([0.8, 0.9])})


@pytest.mark.parametrize(
    ("when", "time"),
    [
        ({"calendar": "90 days"}, 90.0),
        ({"enrolled": 40}, 40.0),
        ({"after_last_patient_in": "10 days"}, 110.0),
        ({"completers": 17, "at_visit": "w26"}, 20.0 + 182.0),
        ({"all": [{"enrolled": 40}, {"calendar": "50 days"}]}, 50.0),
        ({"any": [{"enrolled": 40}, {"calendar": "50 days"}]}, 40.0),
    ],
)
def test_triggers_are_met_when_their_expected_count_is(when, time):
    assert expected_trial().look_time(Look.model_validate({"when": when}), "os") == (pytest.approx(time), True)


def test_events_out_of_reach_wait_until_nobody_is_left_or_not_after():
    trial = expected_trial()
    time, reached = trial.look_time(Look.model_validate({"when": {"events": 50}}), "os")
    assert reached
    assert trial.courses["os"].events(time) == pytest.approx(50, abs=1e-6)
    time, reached = trial.look_time(Look.model_validate({"when": {"events": 101}}), "os")
    assert (time, reached) == (pytest.approx(trial.courses["os"].time_of_exhaustion()), False)
    capped = [Look.model_validate({"when": {"events": events}, "not_after": "150 days"}) for events in (20, 80, 99)]
    times = trial.look_times(capped, "os")
    assert len(times) == 2
    assert times[1] == 150.0


def test_completers_by_arm():
    assert expected_trial().completers_by_arm("w26", 202.0) == pytest.approx([20 * 0.5 * 0.8, 20 * 0.5 * 0.9])


def test_the_effect_on_means_and_what_covariates_explain():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20_000, 1))
    noise = rng.normal(size=20_000)
    reference = 2.0 * x[:, 0] + noise
    test = reference + 0.5
    raw, adjusted = mean_effect(test=test, reference=reference), mean_effect(test=test, reference=reference, covariates=x)
    assert raw.difference == adjusted.difference == pytest.approx(0.5, abs=1e-12)
    assert raw.sd_test == pytest.approx(math.sqrt(5), rel=0.02)
    assert adjusted.sd_reference == pytest.approx(1.0, rel=0.02)
    z, information = adjusted.mean_z([50, 100], [50, 100], favours=-1)
    assert z == pytest.approx([-0.5 / math.sqrt(2 / 50) / adjusted.sd_test, -0.5 / math.sqrt(2 / 100) / adjusted.sd_test], rel=0.02)
    assert information[1] == pytest.approx(2 * information[0])


def test_twins_with_missing_numbers_are_left_out():
    test, reference = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 1.0, 2.0, np.nan])
    assert mean_effect(test=test, reference=reference).difference == 1.0
