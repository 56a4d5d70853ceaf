"""The section as it is written: forms, errors, round trips, and what is named as not supported yet."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any, get_args

import pytest
from pydantic import ValidationError

import trialsim.twins.values as values
from trialsim.parts import walk
from trialsim.twins import Longitudinal, SingleValue, Truth
from trialsim.twins.process import OutcomeProcess

WHOLE: dict[str, Any] = {
    "outcomes": {
        "death": {"dist": "weibull", "shape": 1.1, "median": "12 months", "prognostic": {"ecog": {"hr": 1.5, "level": "1"}}},
        "event": {"dist": "fitted"},
        "cd4": {"model": "fitted"},
        "score": {"dist": "normal", "mean": 3, "sd": 2, "unit": "points", "baseline": "score0"},
        "curve": {"from_curve": "curve.csv"},
        "response": {"dist": "bernoulli", "p": "30 %"},
        "line": {"model": "linear_mixed", "baseline": "score0", "slope": "1.3 / year", "residual": {"sd": 0.8, "corr": {"ar1": 0.4}}},
        "pk": {"model": "pkpd", "clearance": 3.0},
        "ill": {
            "dist": "illness_death",
            "progression": {"dist": "exponential", "median": "6 months"},
            "death": {"dist": "exponential", "median": "2 years"},
            "death_after_progression": {"dist": "exponential", "median": "9 months"},
        },
        "relapse": {
            "dist": "recurrent",
            "rate": "1.2 / year",
            "dispersion": 0.5,
            "time_trend": {"hr": 0.95, "per": "1 year"},
            "dependence": {"with": "death", "copula": "clayton", "kendall_tau": 0.4},
        },
    },
    "effects": {
        "a": {
            "death": {"hr": [{"until": "0 months", "value": 1.0}, {"value": 0.7}]},
            "cd4": {"difference": {"w20": 49.4}},
            "line": {"percent_slowing": "30 %", "onset": "12 weeks"},
            "response": {"or": 2.0},
        }
    },
    "censoring": {"dropout": {"a": {"dist": "exponential", "rate": "0.01 / month"}}},
    "intercurrent_events": {
        "rescue": {"probability": "10 %", "at": "uniform", "effect": {"score": {"shift": -0.3}}},
        "switch": {"cumulative": "20 %", "by": "1 year", "arm_hr": {"a": 1.4}},
    },
    "missing_data": {"score": {"mechanism": "mar", "rate": "3 %", "depends_on": "previous_value", "log_odds_per_unit": 0.2}},
}


def test_every_form_of_the_section_is_read_and_written_back() -> None:
    truth = Truth.model_validate(WHOLE)
    written = truth.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Truth.model_validate(written) == truth
    assert written["outcomes"]["death"]["median"] == "365.25 days"
    assert written["effects"]["a"]["response"] == {"or": 2.0}
    assert Truth.model_validate({}) == Truth()


def test_what_cannot_run_is_named_with_its_place() -> None:
    named = {".".join(map(str, path)): list(part.unsupported()) for path, part in walk(Truth.model_validate(WHOLE))}
    assert {path: phrases for path, phrases in named.items() if phrases} == {
        "outcomes.pk": ["pkpd"],
        "outcomes.relapse": ["time_trend of an outcome", "dependence between outcomes"],
        "intercurrent_events.rescue": ["an intercurrent event that changes outcomes or follow-up"],
    }


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"outcomes": {"d": {"shape": 1}}}, "an outcome needs `dist` (event times and single values) or `model` (longitudinal)"),
        ({"outcomes": {"d": {"dist": "normal", "mean": 1, "sd": 0}}}, "Input should be greater than 0"),
        ({"outcomes": {"d": {"dist": "fitted", "shape": 1}}}, "Extra inputs are not permitted"),
        ({"intercurrent_events": {"x": {"arm_hr": {}}}}, "an intercurrent event needs one of dist, cumulative + by, or probability + at"),
        ({"intercurrent_events": {"x": {"cumulative": 0.2}}}, "cumulative and by belong together"),
        ({"outcomes": {"d": {"dist": "exponential", "rate": "1 / day", "time_trend": {"per": "1 year"}}}}, "time_trend needs exactly one of hr and shift"),
    ],
)
def test_a_wrong_section_is_one_clear_sentence(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Truth.model_validate(section)
    assert [error["msg"] for error in caught.value.errors()] == [message]


def test_an_unknown_law_names_the_known_ones() -> None:
    with pytest.raises(ValidationError) as caught:
        Truth.model_validate({"outcomes": {"d": {"dist": "weibul", "shape": 1}}})
    (error,) = caught.value.errors()
    assert (error["type"], error["ctx"]["tag"]) == ("union_tag_invalid", "weibul")
    assert "'weibull'" in error["ctx"]["expected_tags"]


def test_every_process_in_the_folder_is_in_a_union() -> None:
    members = {*get_args(SingleValue), *get_args(Longitudinal)}
    for module in pkgutil.iter_modules(values.__path__):
        found = {
            kind
            for name, kind in inspect.getmembers(importlib.import_module(f"trialsim.twins.values.{module.name}"), inspect.isclass)
            if issubclass(kind, OutcomeProcess) and kind.__module__.endswith(f".values.{module.name}") and not name.startswith("_")
        }
        assert found, module.name
        assert found <= members, module.name


def test_the_schema_describes_every_field() -> None:
    schema = Truth.model_json_schema()
    for name, definition in schema["$defs"].items():
        for field, keys in definition.get("properties", {}).items():
            assert keys.get("description"), f"{name}.{field}"
