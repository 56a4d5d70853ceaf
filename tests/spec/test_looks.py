"""The short form of looks becomes the long one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.conduct.looks import AllTrigger
from trialsim.spec import Protocol, load
from trialsim.spec.looks import half_up
from trialsim.spec.resolution import dump

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
SURVIVAL = (SPECS / "valid" / "survival.yaml").read_text()
TIMING = "{information: events, final: 200, fractions: [0.5]}"


def protocol(tmp_path: Path, timing: str, *edits: tuple[str, str]) -> Protocol:
    text = SURVIVAL.replace(TIMING, timing)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "p.yaml"
    file.write_text(text)
    (cell,) = load(file).cells()
    return cell.protocol


def when(protocol: Protocol) -> dict[str, dict]:
    return {name: dump(look)["when"] for name, look in protocol.looks.items()}


@given(st.integers(1, 999), st.integers(1, 5000))
def test_fractions_round_half_up_as_written(thousandths: int, total: int):
    exact = Fraction(thousandths, 1000) * total
    assert half_up(thousandths / 1000, total) == (exact + Fraction(1, 2)).__floor__()


def test_the_oncology_example():
    study = load(TRIALS / "oncology_group_sequential.yaml")
    looks = study.resolved()["looks"]
    assert {name: look["when"]["events"] for name, look in looks.items()} == {"look1": 176, "look2": 264, "final": 352}
    assert {look["not_after"] for look in looks.values()} == {f"{60 * 30.4375} days"}
    primary = study.resolved()["analyses"]["primary"]
    assert (primary["looks"], primary["information"]) == (["look1", "look2", "final"], {"planned": 352.0})
    assert primary["efficacy"] == {"spending": "lan_demets_obrien_fleming"}
    assert primary["futility"] == {"hazard_ratio_above": [1.0, 0.9], "binding": False}
    assert "interims" not in study.resolved()


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ("{information: events, final: 200}", {"final": {"events": 200, "endpoint": "os"}}),
        ("{information: events, at: [50, 120]}", {"look1": {"events": 50, "endpoint": "os"}, "final": {"events": 120, "endpoint": "os"}}),
        ("{information: events, at: [50], final: 120}", {"look1": {"events": 50, "endpoint": "os"}, "final": {"events": 120, "endpoint": "os"}}),
        ("{information: events, at: {from: 50, to: 150, by: 50}}", {f"{k}": {"events": d, "endpoint": "os"} for k, d in (("look1", 50), ("look2", 100), ("final", 150))}),
        ("{information: calendar, fractions: [0.5], final: 20 months}", {"look1": {"calendar": "304.375 days"}, "final": {"calendar": "608.75 days"}}),
        ("{information: enrolled, fractions: [0.5]}", {"look1": {"enrolled": 200}, "final": {"enrolled": 400}}),
        ("{information: completers, at_visit: w26, at: [101], final: 300}", {"look1": {"completers": 101, "at_visit": "w26"}, "final": {"completers": 300, "at_visit": "w26"}}),
    ],
)  # fmt: skip
def test_every_kind_of_information(tmp_path: Path, timing: str, expected: dict):
    assert when(protocol(tmp_path, timing)) == expected


def test_and_at_least_delays_the_final_look_only_and_not_after_is_on_every_look(tmp_path: Path):
    made = protocol(tmp_path, "{information: events, final: 200, fractions: [0.5], and_at_least: {after_last_patient_in: 6 months}, not_after: 5 years}")
    assert when(made) == {
        "look1": {"events": 100, "endpoint": "os"},
        "final": {"all": [{"events": 200, "endpoint": "os"}, {"after_last_patient_in": "182.625 days"}]},
    }
    assert isinstance(made.looks["final"].when, AllTrigger)
    assert [look.not_after for look in made.looks.values()] == [5 * 365.25] * 2


def test_calendar_looks_plan_no_information_of_their_own(tmp_path: Path):
    made = protocol(tmp_path, "{information: calendar, final: 20 months}")
    assert made.analyses["primary"].information is None
    assert made.analyses["primary"].looks == ["final"]


def test_completers_wait_for_the_last_visit_and_all_planned_patients():
    (cell,) = load(SPECS / "valid" / "completers_by_default.yaml").cells()
    assert when(cell.protocol) == {name: {"completers": n, "at_visit": "w12"} for name, n in (("look1", 25), ("look2", 51), ("final", 101))}


def test_the_analysis_is_the_one_named_else_the_only_one_else_the_first_on_a_primary_endpoint(tmp_path: Path):
    two = ("analyses:\n", "analyses:\n  pain: {endpoint: pain, treatment: {test: experimental, reference: control}, method: t_test}\n")
    assert [name for name, analysis in protocol(tmp_path, TIMING, two).analyses.items() if analysis.looks] == ["primary"]
    named = ("interims:\n", "interims:\n  analysis: pain\n")
    timing = "{information: enrolled, fractions: [0.5]}"
    assert [name for name, analysis in protocol(tmp_path, timing, two, named).analyses.items() if analysis.looks] == ["pain"]


def test_adaptations_stand_on_the_interim_looks(tmp_path: Path):
    made = protocol(tmp_path, TIMING, ("interims:\n", "interims:\n  adaptations: {sample_size: {rule: blinded}}\n"))
    assert [look.adaptations for look in made.looks.values()] == [{"sample_size": {"rule": "blinded"}}, None]


def test_a_target_that_depends_on_a_design_keeps_the_short_form_in_resolve_only():
    study = load(TRIALS / "alzheimers_twin.yaml")
    assert study.resolved()["interims"]["timing"]["final"] == "$n"
    assert "looks" not in study.resolved()
    finals = {cell.design: dump(cell.protocol.looks["final"])["when"] for cell in study.cells()}
    assert finals == {f"n={n}": {"completers": n, "at_visit": "w52"} for n in (300, 360, 420)}


def test_a_default_total_that_depends_on_a_design_keeps_the_short_form(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text(
        SURVIVAL.replace(TIMING, "{information: enrolled, fractions: [0.5]}").replace("planned_enrollment: 400", "planned_enrollment: $n")
        + "designs: {grid: {n: [300, 400]}}\n"
    )
    study = load(file)
    assert study.resolved()["interims"]["timing"] == {"information": "enrolled", "fractions": [0.5]}
    assert [cell.protocol.looks["look1"].when.enrolled for cell in study.cells()] == [150, 200]


def test_a_bare_boundary_stays_in_short_form():
    (cell,) = load(SPECS / "valid" / "boundary_only.yaml").cells()
    assert cell.protocol.interims is not None
    assert cell.protocol.looks == {}
