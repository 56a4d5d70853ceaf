"""`trialsim design`: from a file to bounds, look times and power, held against rpact's simulations."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from scipy.special import ndtr
from trialsim_cli.main import app
from typer.testing import CliRunner

MONTH = 30.4375
REFERENCE = Path(__file__).parents[1] / "reference" / "simulated_survival_rpact.csv"
SURVIVAL = """spec: trialsim/1
study: {{id: SURV, title: survival, phase: III, sources: [made up]}}
parameters: {{hr: {hr}}}
interventions: {{a: {{role: investigational}}, b: {{role: comparator}}}}
arms: {{experimental: {{type: experimental, interventions: [a]}}, control: {{type: active_comparator, interventions: [b]}}}}
population: {{planned_enrollment: 400}}
endpoints: {{os: {{type: time_to_event, outcome: death}}}}
estimands: {{e1: {{population: all_randomized, treatment: {{test: experimental, reference: control}}, variable: os, summary_measure: hazard_ratio}}}}
truth:
  outcomes: {{death: {{dist: exponential, median: 10 months}}}}
  effects: {{experimental: {{death: {{hr: $hr}}}}}}
  censoring: {{dropout: {{dist: exponential, rate: 0.001 / month}}}}
accrual: {{uniform: 12 months}}
randomization: {{ratio: {{experimental: 1, control: 1}}, method: permuted_block, block_size: 4}}
analyses: {{primary: {{estimand: e1, method: logrank, alpha: 0.025, sides: 1}}}}
interims: {{timing: {{information: events, endpoint: os, final: 250{fractions}}}{rules}}}
simulation: {{seed: 11, replicates: 1000}}
"""
LOOKS = ", fractions: [0.5, 0.752]"
OBF = ", efficacy: {spending: lan_demets_obrien_fleming}"
BOUNDARY = """spec: trialsim/1
study: {{id: B, title: bare boundary}}
arms: {{t: {{type: experimental}}, c: {{type: placebo_comparator}}}}
endpoints: {{y: {{type: {type}, outcome: y, level: primary}}}}
analyses: {{primary: {{endpoint: y, treatment: {{test: t, reference: c}}, method: {method}, alpha: 0.05, sides: {sides}}}}}
interims: {{timing: {{information: {information}, fractions: [0.4, 0.7]}}, {rules}}}
"""
MEANS = """spec: trialsim/1
study: {id: MEANS, title: means}
interventions: {a: {role: investigational}, b: {role: placebo}}
arms: {test: {type: experimental, interventions: [a]}, placebo: {type: placebo_comparator, interventions: [b]}}
population: {planned_enrollment: 200}
endpoints: {y: {type: continuous, outcome: y, at: [w4]}}
estimands: {e1: {population: all_randomized, treatment: {test: test, reference: placebo}, variable: {endpoint: y, at: w4}, summary_measure: difference_in_means}}
visits: {w4: {at: 4 weeks}}
truth:
  outcomes: {y: {dist: normal, mean: 10, sd: 2}}
  effects: {test: {y: {difference: 0.9}}}
accrual: {uniform: 12 months}
randomization: {ratio: {test: 1, placebo: 1}, method: permuted_block, block_size: 4}
analyses: {primary: {estimand: e1, method: t_test, alpha: 0.025, sides: 1}}
interims: {timing: {information: completers, at_visit: w4, at: [100], final: 200}, efficacy: {spending: lan_demets_pocock}}
simulation: {seed: 1, replicates: 10}
"""


def call(tmp_path, text, *arguments, code=0):
    file = tmp_path / "protocol.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["design", str(file), *arguments])
    assert result.exit_code == code, result.output
    return result


def designed(tmp_path, text, *arguments):
    return json.loads(call(tmp_path, text, "--json", *arguments).stdout)


def simulated(label: str, output: str) -> list[tuple[float, float]]:
    with REFERENCE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == label and row["output"] == output]
    return [(float(row["value"]), 0.0 if row["mcse"] == "NA" else float(row["mcse"])) for row in sorted(rows, key=lambda row: row["index"])]


@pytest.mark.parametrize(
    ("label", "hr", "rules"),
    [
        ("GS TTE HR=0.6", "0.6", OBF),
        ("GS TTE futility HR=1", "1.0", OBF + ", futility: {z: [0, 0.5]}"),
        ("delay6 logrank GS", "[{until: 6 months, value: 1.0}, {value: 0.5}]", OBF),
        ("crossing logrank GS", "[{until: 4 months, value: 1.4}, {value: 0.55}]", OBF),
    ],
)
def test_prediction_agrees_with_rpact_simulation(tmp_path, label, hr, rules):
    """Within 4 MCSE and the error of the normal approximation: 0.006 in a power, 0.8 % in an expected size."""
    found = designed(tmp_path, SURVIVAL.format(hr=hr, fractions=LOOKS, rules=rules))
    looks, (scenario,) = found["looks"], found["scenarios"]
    assert [row["n_events"] for row in looks] == [125, 188, 250]
    for row, (months, _) in zip(looks, simulated(label, "analysisTime"), strict=True):
        assert row["look_time"] / MONTH == pytest.approx(months, rel=0.02 if "GS TTE HR=0.6" in label else 0.006)
    reached = 0.0
    for power, (rejected, mcse) in zip(scenario["cumulative_power"], simulated(label, "rejectPerStage"), strict=True):
        reached += rejected
        assert power == pytest.approx(reached, abs=4 * mcse + 0.006)
    for futile, (stopped, mcse) in zip(scenario["stop_futility"], simulated(label, "futilityPerStage"), strict=False):
        assert futile == pytest.approx(stopped, abs=4 * mcse + 0.002)
    for key, output, unit in (
        ("expected_duration", "studyDuration", MONTH),
        ("expected_events", "expectedNumberOfEvents", 1),
        ("expected_n", "expectedNumberOfSubjects", 1),
    ):
        assert scenario[key] / unit == pytest.approx(simulated(label, output)[0][0], rel=0.008)


def test_hazard_ratio_futility_is_shown_on_the_z_scale(tmp_path):
    found = designed(tmp_path, SURVIVAL.format(hr="0.7", fractions=LOOKS, rules=OBF + ", futility: {hazard_ratio_above: [1.0, 0.9], binding: false}"))
    z = [row["futility_z"] for row in found["looks"]]
    assert z[:2] == pytest.approx([0.0, -math.log(0.9) * math.sqrt(188 / 4)])
    assert found["looks"][0]["hr_at_boundary"] == pytest.approx(math.exp(-found["looks"][0]["efficacy_z"] / math.sqrt(125 / 4)))


def test_set_changes_the_scenario_not_the_bounds(tmp_path):
    text = SURVIVAL.format(hr="0.7", fractions=LOOKS, rules=OBF)
    one, other = designed(tmp_path, text), designed(tmp_path, text, "--set", "hr=0.8")
    assert [row["efficacy_z"] for row in one["looks"]] == [row["efficacy_z"] for row in other["looks"]]
    assert one["scenarios"][0]["cumulative_power"][-1] > other["scenarios"][0]["cumulative_power"][-1] + 0.2


@pytest.mark.parametrize("sides", [1, 2])
def test_a_bare_boundary_needs_no_totals_and_no_truth(tmp_path, sides):
    found = designed(tmp_path, BOUNDARY.format(type="continuous", method="t_test", sides=sides, information="enrolled", rules="efficacy: {boundary: pocock}"))
    assert found["schema"] == "trialsim.design/1"
    assert found["scenarios"] == []
    assert [row["information_fraction"] for row in found["looks"]] == [0.4, 0.7, 1.0]
    assert len({round(row["efficacy_z"], 9) for row in found["looks"]}) == 1
    assert found["looks"][-1]["cumulative_alpha"] == pytest.approx(0.05, abs=1e-9)
    row = found["looks"][0]
    assert row["efficacy_p"] == pytest.approx(sides * float(ndtr(-row["efficacy_z"])))
    assert row["n"] is row["look_time"] is row["hr_at_boundary"] is None
    assert set(row) == {
        "design",
        "analysis",
        "arm",
        "look",
        "information_fraction",
        "n",
        "look_time",
        "efficacy_z",
        "efficacy_p",
        "futility_z",
        "cumulative_alpha",
        "hr_at_boundary",
    }


def test_a_bare_boundary_of_event_times(tmp_path):
    found = designed(
        tmp_path,
        BOUNDARY.format(
            type="time_to_event",
            method="logrank",
            sides=1,
            information="events",
            rules="efficacy: {spending: kim_demets, rho: 2}, futility: {spending: kim_demets, rho: 2, beta: 0.1}",
        ),
    )
    assert all(row["n_events"] is None for row in found["looks"])
    assert found["looks"][-1]["futility_z"] == found["looks"][-1]["efficacy_z"]


def test_means(tmp_path):
    found = designed(tmp_path, MEANS)
    looks, (scenario,) = found["looks"], found["scenarios"]
    assert [row["n"] for row in looks] == [100, 200]
    assert looks[0]["look_time"] == pytest.approx(99.5 * 365.25 / 200 + 28)
    assert scenario["cumulative_power"][0] == pytest.approx(float(ndtr(0.9 / 2 * math.sqrt(25) - looks[0]["efficacy_z"])), abs=0.01)
    assert scenario["expected_n"] < 200
    assert scenario["expected_events"] is None


def test_the_tables(tmp_path):
    result = call(tmp_path, SURVIVAL.format(hr="0.7", fractions=LOOKS, rules=OBF))
    assert "2.9626" in result.stdout
    assert "power" in result.stdout
    assert "SURV: bounds" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOUNDARY.format(type="continuous", method="t_test", sides=2, information="enrolled", rules="futility: {z: [0, 0]}"), "futility with sides: 2"),
        (
            BOUNDARY.format(type="continuous", method="t_test", sides=1, information="enrolled", rules="efficacy: {spending: kim_demet}"),
            'did you mean "kim_demets"',
        ),
        (SURVIVAL.format(hr="0.7", fractions="", rules="").replace("interims: {timing: {information: events, endpoint: os, final: 250}}\n", ""), "interims"),
        ("spec: trialsim/1\nstudy: {id: X, title: nothing}\n", "analyses"),
    ],
)
def test_one_line_for_what_cannot_be(tmp_path, text, message):
    result = call(tmp_path, text, "--json", code=3)
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
