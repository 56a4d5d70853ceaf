"""Designs and scenarios: cells, names, roles, replicates, `only`."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.errors import UsageError
from trialsim.spec import Study, load

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
SURVIVAL = (SPECS / "valid" / "survival.yaml").read_text()


def study(tmp_path: Path, tail: str, *, replicates: str = "") -> Study:
    text = (
        SURVIVAL.replace("hr: 0.7", "hr: $hr").replace("planned_enrollment: 400", "planned_enrollment: $n").replace("{seed: 1}", "{seed: 1" + replicates + "}")
    )
    file = tmp_path / "p.yaml"
    file.write_text(text + "parameters: {hr: 0.7, n: 400}\n" + tail)
    return load(file)


def names(study: Study, **only: str) -> list[tuple[str, str]]:
    return [(cell.design, cell.scenario) for cell in study.cells(only)]


def test_without_designs_and_scenarios_there_is_one_cell(tmp_path: Path):
    (cell,) = study(tmp_path, "").cells()
    assert (cell.design, cell.scenario, cell.role, cell.replicates) == ("default", "base", "alternative", 10_000)


def test_names_of_sets_grids_and_bare_grids(tmp_path: Path):
    tail = "designs: {a: {}, b: {grid: {n: [300, 500]}}}\nscenarios: {base: {}, s: {role: sensitivity, grid: {hr: [0.650, 1.0, 1e-1]}}}\n"
    assert names(study(tmp_path, tail)) == [
        (design, scenario) for design in ("a", "b[n=300]", "b[n=500]") for scenario in ("base", "s[hr=0.65]", "s[hr=1.0]", "s[hr=0.1]")
    ]
    assert names(study(tmp_path, "designs: {grid: {n: [300, 500], hr: [0.6, 0.5]}}\n")) == [(f"n={n},hr={hr}", "base") for n in (300, 500) for hr in (0.6, 0.5)]


def test_names_of_quantities_lists_and_null(tmp_path: Path):
    tail = "scenarios:\n  s: {grid: {hr: [0.8, [{until: 0 months, value: 1.0}, {value: 0.7}]]}}\n"
    assert [name for _, name in names(study(tmp_path, tail))] == ["s[hr=0.8]", 's[hr=[{"until": "0 months", "value": 1.0}, {"value": 0.7}]]']


def test_the_oncology_example_has_the_cells_the_design_names():
    cells = load(TRIALS / "oncology_group_sequential.yaml").cells()
    assert [cell.design for cell in cells[::6]] == ["n=450", "n=500", "n=550"]
    assert [cell.scenario for cell in cells[:6]] == [
        "h0", "base", "stress[hr=0.65,delay=0 months]", "stress[hr=0.65,delay=6 months]", "stress[hr=0.75,delay=0 months]", "stress[hr=0.75,delay=6 months]",
    ]  # fmt: skip
    assert [cell.role for cell in cells[:3]] == ["null_hypothesis", "alternative", "sensitivity"]
    assert [cell.replicates for cell in cells[:3]] == [100_000, 10_000, 10_000]
    assert [cell.protocol.population.planned_enrollment for cell in cells[::6]] == [450, 500, 550]
    hr = [piece.value for piece in cells[4].protocol.truth.effects["experimental"]["death"].hr]
    assert hr == [1.0, 0.75]


def test_replicates_by_role(tmp_path: Path):
    tail = "scenarios: {h0: {role: null_hypothesis, set: {hr: 1.0}}, base: {}, s: {role: sensitivity}}\n"
    by_role = study(tmp_path, tail, replicates=", replicates: {default: 7, null_hypothesis: 11}")
    assert [cell.replicates for cell in by_role.cells()] == [11, 7, 7]
    assert [cell.replicates for cell in study(tmp_path, tail, replicates=", replicates: 5").cells()] == [5, 5, 5]


def test_only_names_a_cell_or_all_cells_of_an_id(tmp_path: Path):
    tail = "designs: {grid: {n: [300, 500]}}\nscenarios: {base: {}, s: {role: sensitivity, grid: {hr: [0.65, 0.8]}}}\n"
    whole = study(tmp_path, tail)
    assert names(whole, scenario="base") == [("n=300", "base"), ("n=500", "base")]
    assert names(whole, scenario="s", design="n=500") == [("n=500", "s[hr=0.65]"), ("n=500", "s[hr=0.8]")]
    assert names(whole, scenario="s[hr=0.8]") == [("n=300", "s[hr=0.8]"), ("n=500", "s[hr=0.8]")]
    assert names(whole, role="alternative", design="n=300") == [("n=300", "base")]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"scenario": "bse"}, '--only scenario=bse: no scenario "bse"; did you mean "base"?'),
        ({"design": "n=200"}, '--only design=n=200: no design "n=200"; did you mean "n='),
        ({"cell": "base"}, "--only cell=…: cells are chosen by design, scenario or role"),
        ({"role": "null_hypothesis"}, "--only role=null_hypothesis: no scenario has that role"),
    ],
)
def test_only_of_something_else_is_a_usage_error(tmp_path: Path, only: dict[str, str], message: str):
    with pytest.raises(UsageError) as raised:
        study(tmp_path, "designs: {grid: {n: [300, 500]}}\n").cells(only)
    assert str(raised.value).startswith(message)


def test_cells_with_the_same_content_have_the_same_hash_and_others_do_not(tmp_path: Path):
    tail = "scenarios: {base: {}, same: {role: sensitivity, set: {hr: 0.70}}, other: {role: sensitivity, set: {hr: 0.71}}}\n"
    base, same, other = study(tmp_path, tail).cells()
    assert base.sha256 == same.sha256 != other.sha256
