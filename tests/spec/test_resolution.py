"""The resolved form and its hash: what is in it, what is not, and that it can be printed."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.spec import load
from trialsim.spec.loading import compose
from trialsim.spec.nodes import plain
from trialsim.spec.resolution import canonical_json, dump, sha256, to_yaml

SPECS = Path(__file__).parents[1] / "specs"
SURVIVAL = (SPECS / "valid" / "survival.yaml").read_text()


def digest(tmp_path: Path, *edits: tuple[str, str], tail: str = "", **options) -> str:
    text = SURVIVAL
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "p.yaml"
    file.write_text(text + tail)
    return load(file, **options).sha256


@pytest.mark.parametrize(
    "edit",
    [
        ("12 months}\n    score", "1 year}\n    score"),
        ("hr: 0.7", "hr: 7.0e-1"),
        ("alpha: 0.025", "alpha: 2.5 %"),
        ("{seed: 1}", "{seed: 1, replicates: 7, keep: {example_trials: 3}}"),
        ("{seed: 1}", "{seed: 1, target_mcse: {power: 0.01, duration: 2 weeks}}"),
        ("fractions: [0.5]", "at: [100]"),
        ("{information: events, final", "{endpoint: os, information: events, final"),
        ("{type: time_to_event, outcome: death}", "{outcome: death, type: time_to_event, level: primary, direction: lower_is_better, lag: 0 days}"),
        ("hr: 0.7", "hr: $hr"),
        ("sd: 1}", "sd: 1.0}"),
        ("experimental: {type: experimental}", "experimental: {type: experimental, interventions: [], dose: null}"),
    ],
)  # fmt: skip
def test_what_does_not_change_the_meaning_does_not_change_the_hash(tmp_path: Path, edit: tuple[str, str]):
    tail = "parameters: {hr: 0.7}\n" if "$hr" in edit[1] else ""
    assert digest(tmp_path, edit, tail=tail) == digest(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        ("{seed: 1}", "{seed: 2}"),
        ("hr: 0.7", "hr: 0.71"),
        ("  experimental: {type: experimental}\n  control: {type: active_comparator}\n", "  control: {type: active_comparator}\n  experimental: {type: experimental}\n"),
        ("alpha: 0.025", "alpha: 0.02"),
        ("mean: 63 years", "mean: 62 years"),
        ("id: SURV-1", "id: SURV-2"),
    ],
)  # fmt: skip
def test_what_changes_a_result_changes_the_hash(tmp_path: Path, edit: tuple[str, str]):
    assert digest(tmp_path, edit) != digest(tmp_path)


def test_the_seed_given_to_load_is_in_the_hash(tmp_path: Path):
    assert digest(tmp_path, seed=5) == digest(tmp_path, ("{seed: 1}", "{seed: 5}"))
    assert digest(tmp_path, ("simulation: {seed: 1}\n", ""), seed=5) == digest(tmp_path, seed=5)


def test_the_hash_is_sha256_of_canonical_json(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text(SURVIVAL)
    resolved = load(file).resolved()
    text = canonical_json(resolved)
    assert hashlib.sha256(text.encode()).hexdigest() == sha256(resolved)
    decoded = json.loads(text)
    assert decoded["simulation"] == {"seed": 1}
    assert list(decoded)[:3] == ["spec", "study", "population"]
    assert '"score":{"dist":"normal","mean":0,"sd":1}' in text
    assert '"ratio":{"experimental":1,"control":1},"method":"permuted_block","block_size":4' in text


def test_names_of_cells_are_in_the_hash(tmp_path: Path):
    edit = ("hr: 0.7", "hr: $hr")
    assert digest(tmp_path, edit, tail="scenarios: {s: {grid: {hr: [1]}}}\n") != digest(tmp_path, edit, tail="scenarios: {s: {grid: {hr: [1.0]}}}\n")


def test_defaults_that_only_one_method_has_are_not_filled_in():
    primary = load(SPECS / "valid" / "method_by_design.yaml").resolved()["analyses"]["primary"]
    assert primary["method"] == "$method"
    assert primary["type"] == "superiority"
    assert not {"ties", "robust", "test"} & set(primary)


def test_parameters_that_no_cell_sets_are_gone():
    resolved = load(SPECS / "valid" / "whole_sections.yaml").resolved()
    assert set(resolved["parameters"]) == {"delay", "effect", "futility"}
    assert resolved["parameters"]["futility"] is None
    assert resolved["population"] == {"planned_enrollment": 120}
    assert resolved["interims"]["futility"] == "$futility"


_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _text,
    st.sampled_from(["no", "1e-3", "null", "0o17", "1_000", "2024-01-01", "-", "? a", "a: b", "#x", "$x"]),
)
_keys = _text.filter(lambda key: key not in ("null", ""))


@given(
    st.dictionaries(
        _keys, st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=8), max_size=4
    )
)
def test_printed_yaml_reads_back_as_it_was(value: dict):
    node = compose(to_yaml(value), "f")
    assert ({} if node is None else plain(node)) == value


def test_cells_can_be_sent_to_other_processes():
    for name in ("survival", "means_completers", "long_looks", "not_yet"):
        for cell in load(SPECS / "valid" / f"{name}.yaml").cells():
            copy = pickle.loads(pickle.dumps(cell))
            assert dump(copy.protocol) == dump(cell.protocol)
            assert [type(analysis) for analysis in copy.protocol.analyses.values()] == [type(analysis) for analysis in cell.protocol.analyses.values()]
            assert copy.sha256 == cell.sha256
