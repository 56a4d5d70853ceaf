"""`$name`: what it stands for, who wins, where errors point."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialsim.errors import ProtocolError, UsageError
from trialsim.spec import load
from trialsim.spec.loading import compose
from trialsim.spec.nodes import Place, Setting, plain
from trialsim.spec.parameters import Assigned, Substitution, list_of_steps, parse_set

SURVIVAL = (Path(__file__).parents[1] / "specs" / "valid" / "survival.yaml").read_text()


def substituted(text: str, parameters: str, **options):
    body, values = compose(text, "f"), compose(parameters, "f")
    environment = {name: Assigned(node, Setting(name, "", node.key_place)) for name, node in values.value.items()}
    substitution = Substitution(environment, **options)
    return substitution.apply(body), substitution


@pytest.mark.parametrize(
    ("text", "parameters", "result"),
    [
        ("a: $x", "x: 1", {"a": 1}),
        ("a: [$x, 2]", "x: {b: [1]}", {"a": [{"b": [1]}, 2]}),
        ("a: {b: $x, c: 1}", "x: null", {"a": {"c": 1}}),
        ("a: [1, $x, 3]", "x: null", {"a": [1, 3]}),
        ("a: [1, null]", "x: 1", {"a": [1, None]}),
        ("a: $x", "{x: {b: $y, c: [$z]}, y: 2, z: $y}", {"a": {"b": 2, "c": [2]}}),
        ("a: $x", "{x: $y, y: null}", {}),
        ("a: '$x'", "x: 1", {"a": 1}),
        ("a: a $x and $5", "x: 1", {"a": "a $x and $5"}),
        ("$x: 1", "x: 2", {"$x": 1}),
        ("a: {from: 300, to: 600, by: $x}", "x: 100", {"a": [300, 400, 500, 600]}),
    ],
)
def test_a_parameter_stands_for_a_whole_value(text: str, parameters: str, result: object):
    node, substitution = substituted(text, parameters)
    assert plain(node) == result
    assert substitution.problems == []


def test_kept_names_stay_also_inside_the_values_of_others():
    node, _ = substituted("{a: $x, b: $y}", "{x: [$y, $z], y: 1, z: 2}", keep={"y"})
    assert plain(node) == {"a": ["$y", 2], "b": "$y"}


def test_values_stand_where_they_are_used_and_remember_their_parameter():
    node, _ = substituted("a: $x\n", "\n\nx: {b: [1, {c: 2}]}", known=frozenset())
    inner = node.get("a").get("b").get(1).get("c")
    assert (inner.place, inner.key_place) == (Place("f", 1, 4), Place("f", 1, 4))
    assert inner.setting.words("f") == "parameter x, line 3"
    assert inner.setting.words("other") == "parameter x, f:3"
    assert node.get("a").key_place == Place("f", 1, 1)


def written(tmp_path: Path, parameters: str, *, hr: str = "$hr", tail: str = "") -> Path:
    file = tmp_path / "p.yaml"
    file.write_text(
        SURVIVAL.replace("hr: 0.7", f"hr: {hr}").replace("planned_enrollment: 400", "planned_enrollment: $n") + f"parameters: {parameters}\n" + tail
    )
    return file


def hazard_ratio(protocol) -> float:
    return protocol.truth.effects["experimental"]["death"].hr


def test_precedence_parameters_set_design_scenario(tmp_path: Path):
    tail = "designs:\n  plain: {}\n  large: {set: {n: 600}}\nscenarios:\n  base: {}\n  other: {role: sensitivity, set: {hr: 0.9}}\n"
    file = written(tmp_path, "{hr: 0.7, n: 400}", tail=tail)

    def table(sets):
        return {(c.design, c.scenario): (c.protocol.population.planned_enrollment, hazard_ratio(c.protocol)) for c in load(file, sets).cells()}

    assert table({}) == {("plain", "base"): (400, 0.7), ("plain", "other"): (400, 0.9), ("large", "base"): (600, 0.7), ("large", "other"): (600, 0.9)}
    assert table({"hr": "0.8", "n": 500}) == {
        ("plain", "base"): (500, 0.8), ("plain", "other"): (500, 0.9), ("large", "base"): (600, 0.8), ("large", "other"): (600, 0.9),
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.floats(0.05, 5.0), st.integers(1, 3), st.sampled_from(["[{until: 3 months, value: 1}, {value: 0.6}]", "1e-1", "+.5"])))
def test_set_is_the_same_as_editing_the_file(tmp_path_factory: pytest.TempPathFactory, value: object):
    folder = tmp_path_factory.mktemp("edited")
    text = value if isinstance(value, str) else repr(value)
    tail = "scenarios: {base: {}, h0: {role: null_hypothesis, set: {hr: 1}}}\n"
    by_set = load(written(folder, "{hr: 0.7, n: 400}", tail=tail), {"hr": text})
    edited = load(written(folder, f"{{hr: {text}, n: 400}}", tail=tail))
    assert by_set.resolved() == edited.resolved()
    assert by_set.sha256 == edited.sha256
    assert [cell.sha256 for cell in by_set.cells()] == [cell.sha256 for cell in edited.cells()]


def test_set_text_is_yaml_and_values_are_taken_as_they_are():
    assert [plain(parse_set("x", value)) for value in ("1e-3", "no", "0 months", "null", "", "[1, {a: 2}]", '"3"', 4, None, {"a": [1, True]}, (1, 2))] == [
        1e-3, "no", "0 months", None, None, [1, {"a": 2}], "3", 4, None, {"a": [1, True]}, [1, 2],
    ]  # fmt: skip


def test_set_of_an_unknown_parameter_is_a_usage_error(tmp_path: Path):
    file = written(tmp_path, "{hr: 0.7, n: 400}")
    with pytest.raises(UsageError, match='--set hrr: the protocol has no parameter "hrr"; did you mean "hr"'):
        load(file, {"hrr": 1})
    with pytest.raises(UsageError, match=r"--set hr=\[1: not valid"):
        load(file, {"hr": "[1"})


def test_a_wrong_value_from_set_is_placed_at_the_use_and_says_so(tmp_path: Path):
    with pytest.raises(ProtocolError) as raised:
        load(written(tmp_path, "{hr: 0.7, n: 400}"), {"hr": "-1", "n": "many"})
    lines = [str(problem).partition("p.yaml:")[2] for problem in raised.value.problems]
    assert lines == [
        '7:23  population.planned_enrollment: should be a whole number, not "many" (parameter n, --set)',
        "24:32  truth.effects.experimental.death.hr: a ratio must be positive; -1 given (parameter hr, --set)",
    ]


def test_a_parameter_that_only_designs_give_needs_no_default(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text(SURVIVAL.replace("planned_enrollment: 400", "planned_enrollment: $n") + "designs: {grid: {n: [300, 400]}}\n")
    assert [cell.protocol.population.planned_enrollment for cell in load(file).cells()] == [300, 400]
    assert [cell.protocol.population.planned_enrollment for cell in load(file, {"n": 1}).cells()] == [300, 400]


@given(st.integers(-1000, 1000), st.integers(0, 50), st.integers(1, 400), st.integers(0, 3))
def test_steps_are_exact_in_decimals(first: int, count: int, step: int, digits: int):
    scale = Decimal(1).scaleb(-digits)
    numbers = [str((first + index * step) * scale) for index in range(count + 1)]
    made, wrong = list_of_steps(numbers[0], numbers[-1], str(step * scale))
    assert wrong == ""
    assert [float(value) for value in made] == [float(text) for text in numbers]
    with_unit, _ = list_of_steps(f"{numbers[0]} months", f"{numbers[-1]} months", f"{step * scale} months")
    assert [float(str(text).split()[0]) for text in with_unit] == [float(text) for text in numbers]
    assert all(str(text).endswith(" months") for text in with_unit)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((1, 2, 0), "positive"),
        ((2, 1, 1), "at least from"),
        ((1, "2 weeks", 1), "same unit"),
        (("a", 2, 1), "numbers"),
        ((0, 1e9, 1), "100000"),
        ((True, 2, 1), "numbers"),
    ],
)
def test_steps_that_make_no_list(steps: tuple, message: str):
    assert message in list_of_steps(*steps)[1]
