"""The case files: every valid protocol resolves to itself, every invalid one says exactly what it states in its first lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trialsim.errors import ProtocolError
from trialsim.spec import load
from trialsim.spec.loading import read_file
from trialsim.spec.nodes import plain, scalars
from trialsim.spec.resolution import canonical_json, to_yaml

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
EXAMPLES = [
    TRIALS / f"{name}.yaml"
    for name in ("actg175", "alzheimers_twin", "copd_exacerbations", "depression_mmrm", "oncology_group_sequential", "ulcerative_colitis_remission")
]
VALID = [*sorted((SPECS / "valid").glob("*.yaml")), *EXAMPLES]
INVALID = sorted((SPECS / "invalid").glob("*.yaml"))


def expected(path: Path) -> list[str]:
    return [line.removeprefix("# expect: ") for line in path.read_text().splitlines() if line.startswith("# expect: ")]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_protocol_says_what_is_wrong_and_where(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(path.parent)
    with pytest.raises(ProtocolError) as raised:
        load(path.name)
    said = [str(problem).removeprefix(f"{path.name}:") for problem in raised.value.problems]
    assert said == expected(path)
    assert all("\n" not in line for line in said)
    assert raised.value.exit_code == 3


def test_every_invalid_case_states_what_it_expects():
    assert len(INVALID) >= 40
    assert all(expected(path) for path in INVALID)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_resolved_protocol_is_valid_and_resolves_to_itself(path: Path, tmp_path: Path):
    study = load(path)
    printed = tmp_path / path.name
    printed.write_text(to_yaml(study.resolved()))
    again = load(printed)
    assert again.resolved() == study.resolved()
    assert canonical_json(again.resolved()) == canonical_json(study.resolved())
    assert again.sha256 == study.sha256
    assert to_yaml(again.resolved()) == to_yaml(study.resolved())


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_resolved_protocol_has_the_same_cells(path: Path, tmp_path: Path):
    study = load(path)
    printed = tmp_path / path.name
    printed.write_text(to_yaml(study.resolved()))
    described = [(cell.design, cell.scenario, cell.role, cell.replicates, cell.sha256) for cell in study.cells()]
    assert [(cell.design, cell.scenario, cell.role, cell.replicates, cell.sha256) for cell in load(printed).cells()] == described


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_resolved_protocol_has_no_time_but_in_days(path: Path):
    def texts(value: object, key: str = "") -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for k, item in value.items() if k not in ("parameters", "designs", "scenarios", "title", "description") for pair in texts(item, k)]
        if isinstance(value, list):
            return [pair for item in value for pair in texts(item, key)]
        return [(key, value)] if isinstance(value, str) else []

    late = [(key, text) for key, text in texts(load(path).resolved()) if re.search(r"\d\s*/?\s*(week|month|year)", text) and key != "sources"]
    assert [text for _, text in late] == []


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_every_position_points_at_the_text_of_its_value(path: Path):
    lines = path.read_text().splitlines()
    for _, node in scalars(read_file(path)):
        at = lines[node.place.line - 1][node.place.column - 1 :]
        if isinstance(node.value, str):
            assert at.lstrip("\"'").startswith(node.value.split("'")[0])
        elif isinstance(node.value, bool) or node.value is None:
            assert at.startswith(("true", "false", "null", "~")) or node.value is None
        else:
            assert float(re.match(r"[-+0-9.eE]+", at)[0]) == node.value
        if node.key_place is not None:
            assert re.match(r"[\"']?[A-Za-z0-9_.]", lines[node.key_place.line - 1][node.key_place.column - 1 :])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_what_the_design_shows(path: Path):
    study = load(path)
    cells = {
        "actg175": 2,
        "alzheimers_twin": 18,
        "oncology_group_sequential": 18,
        "copd_exacerbations": 3,
        "depression_mmrm": 2,
        "ulcerative_colitis_remission": 3,
    }
    assert len(study.cells()) == cells[path.stem]
    assert bool(study.notes()) == (path.stem == "alzheimers_twin")
    assert plain(read_file(path))["spec"] == "trialsim/1"
