"""A study: notes on what cannot be run, and what a command needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.errors import NotSupportedError, ProtocolError, UsageError
from trialsim.spec import load

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
SURVIVAL = (SPECS / "valid" / "survival.yaml").read_text()


def write(tmp_path: Path, *edits: tuple[str, str], tail: str = "") -> Path:
    text = SURVIVAL
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path / "p.yaml"
    file.write_text(text + tail)
    return file


def test_runnable_examples_have_no_notes():
    for name in ("actg175", "oncology_group_sequential"):
        study = load(TRIALS / f"{name}.yaml")
        assert study.notes() == ()
        study.require_runnable()
        assert study.directory == TRIALS


def test_the_alzheimer_example_names_what_is_missing_with_its_place_and_run_refuses():
    study = load(TRIALS / "alzheimers_twin.yaml")
    notes = [(note.line, note.column, note.path, note.message) for note in study.notes()]
    assert not any("multiplicity" in message for *_, message in notes)  # no efficacy before the last look
    assert not any("linear_mixed" in message for *_, message in notes)
    assert (56, 1, "interims", "not supported yet: adaptations: drop_arms") in notes
    assert not any("target_mcse" in message for *_, message in notes)
    assert notes == sorted(notes)
    with pytest.raises(NotSupportedError, match=r"not supported yet: adaptations: drop_arms \(interims, .*alzheimers_twin.yaml:56:1\)") as raised:
        study.require_runnable()
    assert raised.value.exit_code == 3
    assert len(raised.value.what) == len(notes)


def test_everything_the_language_has_and_the_engine_has_not_is_noted():
    messages = {note.message.removeprefix("not supported yet: ") for note in load(SPECS / "valid" / "not_yet.yaml").notes()}
    wanted = (
        "opens of an arm (platform trials)", "visits that repeat (every)", "lag of an endpoint",
        "an estimand in a part of the population", "the composite strategy for rescue",
        "an intercurrent event that changes outcomes or follow-up", "randomization by minimization",
        "a hypothesis in two families (response:high in response and key)", "adaptations: drop_arms", "decision_lag", "dose_escalation by boin", "target_mcse of coverage",
    )  # fmt: skip
    assert set(wanted) <= messages


def test_a_draw_is_noted_and_its_parameter_is_known(tmp_path: Path):
    tail = "parameters: {hr: 0.7}\nscenarios: {a: {role: assurance, draw: {hr: {dist: lognormal, median: 0.75, sd_log: 0.15}}}}\n"
    study = load(write(tmp_path, ("hr: 0.7", "hr: $hr"), tail=tail))
    (note,) = study.notes()
    assert (note.path, note.message, note.line) == ("scenarios.a", "not supported yet: draw (assurance)", 34)
    assert study.resolved()["scenarios"]["a"]["draw"] == {"hr": {"dist": "lognormal", "median": 0.75, "sd_log": 0.15}}
    assert study.resolved()["truth"]["effects"]["experimental"]["death"]["hr"] == "$hr"


@pytest.mark.parametrize(
    ("edit", "lines"),
    [
        (("simulation: {seed: 1}\n", ""), ["1:1  simulation.seed: missing; a run needs it (or --seed)"]),
        (("accrual: {uniform: 12 months}\n", ""), ["1:1  accrual: missing; a run needs it"]),
        (("interims:\n  timing: {information: events, final: 200, fractions: [0.5]}\n  efficacy: {spending: lan_demets_obrien_fleming}\n", ""),
         ["28:3  analyses.primary: a time-to-event analysis needs interims.timing or looks, which say when the data are cut"]),
        (("final: 200, fractions: [0.5]", "fractions: [0.5]"), ["30:3  interims.timing.final: missing; a run needs the target of the final look"]),
        ((", at: [w26]", ""), ["16:3  endpoints.pain.at: missing; a run needs the visits at which it is measured"]),
    ],
)  # fmt: skip
def test_what_a_run_needs_is_asked_for_with_its_place(tmp_path: Path, edit: tuple[str, str], lines: list[str]):
    study = load(write(tmp_path, edit))
    with pytest.raises(ProtocolError) as raised:
        study.require_runnable()
    assert [str(problem).partition("p.yaml:")[2] for problem in raised.value.problems] == lines


def test_the_seed_may_come_from_the_command(tmp_path: Path):
    file = write(tmp_path, ("simulation: {seed: 1}\n", ""))
    study = load(file, seed=7)
    study.require_runnable()
    assert study.seed == 7
    assert study.cells()[0].protocol.simulation.seed == 7
    with pytest.raises(UsageError, match="--seed -1"):
        load(file, seed=-1)


def test_a_protocol_for_design_or_analyse_needs_only_its_sections():
    boundary = load(SPECS / "valid" / "boundary_only.yaml")
    boundary.require("arms", "endpoints", "analyses", "interims")
    with pytest.raises(ProtocolError) as raised:
        boundary.require("truth", "arms", "accrual")
    assert [problem.path for problem in raised.value.problems] == ["truth", "accrual"]
    analyse = load(SPECS / "valid" / "analyse_only.yaml")
    (cell,) = analyse.cells()
    assert cell.protocol.analyses["survival"].stratify_by == ("site",)
    assert (cell.protocol.truth, cell.protocol.accrual, cell.protocol.looks) == (None, None, {})
    assert analyse.id == "analyse_only"


def test_expected_events_follow_the_exponential_laws(tmp_path: Path):
    """Hazards λ and dropout δ: a share λ / (λ + δ) of each arm has the event, so about 282.2 of 400 do."""
    edits = [("  effects:", "  censoring: {dropout: {dist: exponential, rate: 0.02 / month}}\n  effects:")]
    load(write(tmp_path, ("final: 200", "final: 282"), *edits))
    with pytest.raises(ProtocolError, match="283 events of os cannot be expected; about 282 are"):
        load(write(tmp_path, ("final: 200", "final: 283"), *edits))


def test_events_are_expected_of_the_first_of_several_outcomes(tmp_path: Path):
    """Two exponential causes and dropout, all with the same hazard: two thirds of the patients are seen to have the first event."""
    edits = [
        ("os: {type: time_to_event, outcome: death}", "os: {type: time_to_event, outcomes: [death, relapse]}"),
        ("    death: {dist: exponential, median: 12 months}", "    death: {dist: exponential, rate: 0.02 / month}\n    relapse: {dist: exponential, rate: 0.02 / month}"),
        ("death: {hr: 0.7}", "death: {hr: 1}"),
        ("  effects:", "  censoring: {dropout: {dist: exponential, rate: 0.02 / month}}\n  effects:"),
    ]  # fmt: skip
    load(write(tmp_path, ("final: 200", "final: 266"), *edits))
    with pytest.raises(ProtocolError, match="268 events of os cannot be expected; about 267 are"):
        load(write(tmp_path, ("final: 200", "final: 268"), *edits))


def test_null_scenarios_may_fall_short_of_the_events(tmp_path: Path):
    file = write(tmp_path, ("hr: 0.7", "hr: $hr"), ("final: 200", "final: 330"), ("  effects:", "  censoring: {dropout: {dist: exponential, rate: 0.01 / month}}\n  effects:"),
                 tail="parameters: {hr: 0.9}\nscenarios: {base: {}, h0: {role: null_hypothesis, set: {hr: 0.2}}}\n")  # fmt: skip
    assert len(load(file).cells()) == 2
