"""The JSON Schema against the loader: what one takes the other takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from trialsim.errors import ProtocolError
from trialsim.spec.loading import read_file
from trialsim.spec.nodes import plain
from trialsim.spec.protocol import Protocol
from trialsim.spec.schema import DIALECT, json_schema

SPECS = Path(__file__).parents[1] / "specs"
TRIALS = Path(__file__).parents[2] / "trials"
VALID = [
    *sorted((SPECS / "valid").glob("*.yaml")),
    *(
        TRIALS / f"{name}.yaml"
        for name in ("actg175", "alzheimers_twin", "copd_exacerbations", "depression_mmrm", "oncology_group_sequential", "ulcerative_colitis_remission")
    ),
]
OF_FORM = (
    "unknown_section", "unknown_key", "unknown_key_far", "unknown_key_in_union", "missing_key", "missing_discriminator", "unknown_word", "wrong_type", "quoted_number",
    "quoted_share", "id_is_not_text", "null_section_entry", "unit_missing", "unit_on_bare_number", "spec_missing", "spec_unknown", "scenario_form", "look_trigger", "efficacy_word",
    "merge_key", "several_at_once", "extends_not_a_name",
)  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_the_schema_takes_every_valid_protocol(validator: Any, path: Path):
    assert [error.message for error in validator.iter_errors(plain(read_file(path)))] == []


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_the_schema_takes_every_resolved_protocol(validator: Any, path: Path):
    from trialsim.spec import load

    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(load(path).resolved())))] == []


@pytest.mark.parametrize("name", OF_FORM)
def test_the_schema_refuses_what_is_wrong_in_form(validator: Any, name: str):
    assert not validator.is_valid(plain(read_file(SPECS / "invalid" / f"{name}.yaml")))


def test_only_a_child_may_leave_out_what_another_file_says(validator: Any):
    assert validator.is_valid({"extends": "base.yaml", "analyses": {"primary": {"alpha": 0.01}}, "accrual": {"uniform": None}})
    assert not validator.is_valid({"spec": "trialsim/1", "analyses": {"primary": {"alpha": 0.01}}})
    assert not validator.is_valid({"extends": "base.yaml", "acrual": {}})


def test_a_parameter_may_stand_for_any_value(validator: Any):
    document = plain(read_file(SPECS / "valid" / "survival.yaml"))
    for section in (name for name in document if name not in ("spec", "parameters", "designs", "scenarios")):
        assert validator.is_valid({**document, section: "$x"}), section
    assert validator.is_valid({**document, "accrual": {"uniform": "$x"}})
    assert validator.is_valid({**document, "randomization": {"block_size": ["$x", 4]}})
    assert not validator.is_valid({**document, "accrual": {"uniform": 4}})
    assert not validator.is_valid({**document, "study": "$x y"})


def test_every_section_and_field_is_described():
    schema = json_schema()
    assert schema["$schema"] == DIALECT
    protocol = schema["$defs"]["protocol"]["properties"]
    assert set(Protocol.model_fields) <= set(protocol)
    nameless = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if not value.get("description") and name != "steps"
    ]
    assert nameless == []
    assert json.dumps(schema).count('"examples"') > 50


def test_what_the_schema_takes_is_read_without_problems_of_form(validator: Any, tmp_path: Path):
    """Short forms that validators accept are in the schema, and the loader takes them."""
    from trialsim.spec import load

    base = (SPECS / "valid" / "survival.yaml").read_text()
    for old, new in (
        ("at: [w26]", "at: w26"), ("w26: {at: 26 weeks}", "w26: {at: 26 weeks}\n  every: 8 weeks"), ("sides: 1}", "sides: 1, weights: peto_peto}"),
        ("alpha: 0.025", "alpha: 2.5 %"), ("id: SURV-1", "id: 175"), ("sides: 1}", "sides: 1, stratify_by: ecog}"),
        ("median: 12 months}", "median: 12 months, prognostic: {ecog: {hr: 1.2, level: 1}}}"), ("fractions: [0.5]", "at: {from: 50, to: 150, by: 50}"),
    ):  # fmt: skip
        assert base.count(old) == 1, old
        file = tmp_path / "p.yaml"
        file.write_text(base.replace(old, new))
        assert validator.is_valid(plain(read_file(file))), new
        try:
            load(file)
        except ProtocolError as error:
            pytest.fail(f"{new}: {error}")
