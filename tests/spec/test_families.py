"""Families of a protocol: who is in them, and what is refused because it would not control the error rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.spec import load
from trialsim.spec.families import families, hypotheses, planned_families
from trialsim.spec.planning import planned_analyses, planned_looks
from trialsim.spec.protocol import Protocol

SPECS = Path(__file__).parents[1] / "specs" / "valid"
ARMS = (SPECS / "several_arms.yaml").read_text()
LOOKS = "looks: {a: {when: {completers: 120, at_visit: w12}}, b: {when: {completers: 240, at_visit: w12}}}\n"
INTERIMS = "interims:\n  analysis: score\n  timing: {information: completers, at_visit: w12}\n"
START = "multiplicity:\n"


def protocol(tmp_path: Path, *, analyses: str, family: str = "", tail: str = LOOKS) -> tuple[Protocol, list[str]]:
    before, after = ARMS.split("analyses:\n")[0], ARMS.split(INTERIMS)[1]
    file = tmp_path / "p.yaml"
    file.write_text(before + "analyses:\n" + analyses + (f"multiplicity:\n{family}" if family else "") + tail + after)
    study = load(file)
    return study.cells()[0].protocol, [note.message.removeprefix("not supported yet: ") for note in study.notes()]


def analysis(name: str, *options: str, test: str = "[low, high]", endpoint: str = "score") -> str:
    said = ", ".join(["sides: 1", *options])
    return f"  {name}: {{endpoint: {endpoint}, treatment: {{test: {test}, reference: placebo}}, method: t_test, {said}}}\n"


def test_arms_are_hypotheses_and_families_name_them() -> None:
    found = load(SPECS / "several_arms.yaml").cells()[0].protocol
    assert hypotheses(found, "score") == {"score:low": "low", "score:high": "high"}
    assert list(families(found)) == ["pain", "main"]
    main = families(found)["main"]
    assert main.members == ("score:low", "score:high", "walk:low", "walk:high")
    assert [main.first_share(member) for member in main.members] == [0.5, 0.5, 1.0, 1.0]
    planned = planned_families(found)
    assert planned["main"].groups == ((0, 1), (2, 3))
    assert planned["main"].ratios == (0.5, 0.5, 0.5, 0.5)
    plans = planned_analyses(found, planned_looks(found), ignore_futility=False)
    assert list(plans) == ["score:low", "score:high", "walk:low", "walk:high", "pain:low", "pain:high"]
    assert all(plan.looks == (0,) for plan in plans.values())  # one look: families are analysed there
    assert [plan.arm for plan in plans.values()] == ["low", "high"] * 3
    assert plans["pain:high"].others == (0,)
    assert plans["score:high"].others == ()
    assert plans["score:low"].pooled == (2, 0, 1)
    assert plans["score:low"].monitoring.alpha == pytest.approx(0.0125)


def test_a_member_without_an_arm_is_all_its_arms(tmp_path: Path) -> None:
    found, notes = protocol(
        tmp_path,
        analyses=analysis("one", "looks: [b]") + analysis("two", "looks: [b]", test="low", endpoint="walk"),
        family='  f: {members: [one, "two:low"], alpha: 0.025, procedure: holm}\n',
    )
    assert notes == []
    assert families(found)["f"].members == ("one:low", "one:high", "two")


def test_margins_are_tested_at_half_of_a_two_sided_alpha(tmp_path: Path) -> None:
    written = analysis("one", test="low", endpoint="score").replace("sides: 1", "type: non_inferiority, margin: 0.2, looks: [b]")
    written += analysis("two", test="low", endpoint="walk").replace("sides: 1", "looks: [b]")
    found, _ = protocol(tmp_path, analyses=written, family="  f: {members: [one, two], alpha: 0.05, procedure: fixed_sequence}\n")
    plans = planned_analyses(found, planned_looks(found), ignore_futility=False)
    assert (plans["one"].monitoring.alpha, plans["one"].monitoring.sides) == (0.025, 1)
    assert (plans["two"].monitoring.alpha, plans["two"].monitoring.sides) == (0.05, 2)


SPENDING = "efficacy: {spending: lan_demets_pocock}"


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("looks: [a, b]", SPENDING, "multiplicity: holm"), None),
        (("looks: [a, b]", SPENDING, "multiplicity: hochberg"), "multiplicity by hochberg with efficacy at interim looks"),
        (("looks: [a, b]", "futility: {z: [0]}", "multiplicity: dunnett"), None),
        (("looks: [a, b]", SPENDING, "multiplicity: dunnett"), "multiplicity by dunnett with efficacy at interim looks"),
        (("looks: [a, b]", SPENDING, "futility: {z: [0], binding: true}", "multiplicity: bonferroni"), None),
        (("looks: [a, b]", SPENDING, "futility: {z: [0], binding: true}", "multiplicity: holm"), "binding futility in a family whose alpha moves (one)"),
        (("looks: [a, b]", "efficacy: {boundary: z, values: [3, 2]}", "multiplicity: holm"), "fixed critical values in a family (one)"),
        (("looks: [a, b]", SPENDING, "multiplicity: none"), None),
    ],
)
def test_what_would_not_control_the_error_rate_is_refused(tmp_path: Path, options: tuple[str, ...], refused: str | None) -> None:
    _, notes = protocol(tmp_path, analyses=analysis("one", *options))
    assert notes == ([] if refused is None else [refused])


@pytest.mark.parametrize(
    ("analyses", "procedure", "refused"),
    [
        (analysis("one", "looks: [a, b]", SPENDING) + analysis("two", endpoint="walk"), "holm",
         "a family of which some analyses have looks and others are made where the trial ends (give each its looks)"),
        (analysis("one", "looks: [a]") + analysis("two", "looks: [b]", endpoint="walk"), "hommel", "multiplicity by hommel of analyses made at different looks"),
        (analysis("one", "looks: [a]") + analysis("two", "looks: [b]", endpoint="walk"), "holm", None),
        (analysis("one", "looks: [b]") + analysis("two", "looks: [b]", endpoint="walk"), "hommel", None),
        (analysis("one", "looks: [b]") + analysis("two", "looks: [b]", endpoint="walk"), "dunnett", "multiplicity by dunnett across analyses"),
    ],
)  # fmt: skip
def test_families_across_analyses(tmp_path: Path, analyses: str, procedure: str, refused: str | None) -> None:
    _, notes = protocol(tmp_path, analyses=analyses, family=f"  f: {{members: [one, two], alpha: 0.025, procedure: {procedure}}}\n")
    assert notes == ([] if refused is None else [refused])


def test_dunnett_over_the_arms_of_an_analysis_pools_their_variance(tmp_path: Path) -> None:
    found, notes = protocol(tmp_path, analyses=analysis("one", "looks: [b]"), family="  f: {members: [one], alpha: 0.025, procedure: dunnett}\n")
    assert notes == []
    assert all(plan.method.joint and plan.others for plan in planned_analyses(found, planned_looks(found), ignore_futility=False).values())


def test_a_parametric_graph_is_one_sided(tmp_path: Path) -> None:
    by_graph = "multiplicity: {graph: {weights: {low: 0.5, high: 0.5}, transitions: {}}, test: parametric}"
    _, notes = protocol(tmp_path, analyses=analysis("one", "looks: [b]", by_graph))
    assert notes == []
    _, notes = protocol(tmp_path, analyses=analysis("one", "looks: [b]", by_graph).replace("sides: 1", "sides: 2"))
    assert notes == ["multiplicity by a parametric graph with sides: 2"]
