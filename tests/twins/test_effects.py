"""What an effect may be, and what it becomes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from trialsim.twins.arm_table import ByCategory
from trialsim.twins.compile_effect import hazard_ratio, mean_difference
from trialsim.twins.effects import Effect
from trialsim.twins.event_time import NO_EFFECT, HazardRatio
from trialsim.twins.visit_value import NO_DIFFERENCE, MeanDifference

LEVELS = {"region": ("asia", "europe")}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "an effect needs exactly one of hr, or, difference, ratio, rate_ratio, p, percent_slowing, acceleration, shift or fitted; none given"),
        (
            {"hr": 0.5, "p": 0.2},
            "an effect needs exactly one of hr, or, difference, ratio, rate_ratio, p, percent_slowing, acceleration, shift or fitted; hr and p given",
        ),
        ({"hr": 0}, "a ratio must be positive; 0 given"),
        ({"hr": [{"until": "1 month", "value": -1}, {"value": 1}]}, "a ratio must be positive; -1 given"),
        ({"hr": {"by": {"covariate": "region", "values": {"asia": -0.5}}}}, "a ratio must be positive; -0.5 given"),
        ({"hr": {"w12": 0.5}}, "an effect is a number, pieces [{until, value}, …, {value}], or {by: {covariate, values}}"),
        ({"hr": "0.5 / month"}, '"0.5 / month" should be a bare number, without a unit'),
        ({"hr": [{"until": "1 month", "value": 1}]}, "the last piece of an effect must have no until: it continues for ever"),
        (
            {"hr": [{"until": "2 months", "value": 1}, {"until": "1 month", "value": 2}, {"value": 1}]},
            "the pieces of an effect must be in order of time; until 30.4375 days follows until 60.875 days",
        ),
        ({"hr": 0.5, "onset": "3 months"}, "onset belongs to percent_slowing; for hr write pieces in time"),
    ],
)
def test_a_wrong_effect_is_one_clear_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Effect.model_validate(keys)
    assert [error["msg"] for error in caught.value.errors()] == [message]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"hr": 0.7}, HazardRatio(ratios=(0.7,))),
        ({"hr": 1.0}, NO_EFFECT),
        ({"fitted": 0.5}, HazardRatio(ratios=(math.exp(0.5 * -0.6),))),
        ({"fitted": 0}, NO_EFFECT),
        ({"hr": [{"until": "10 days", "value": 1.0}, {"value": 0.6}]}, HazardRatio((10.0,), (1.0, 0.6))),
        ({"hr": [{"until": "0 days", "value": 1.0}, {"value": 0.6}]}, HazardRatio(ratios=(0.6,))),
        ({"hr": [{"until": "10 days", "value": 1.0}, {"value": 1.0}]}, NO_EFFECT),
        ({"hr": {"by": {"covariate": "region", "values": {"europe": 0.5, "asia": 1.0}}}}, HazardRatio(by=ByCategory("region", (1.0,), (0.5,)))),
        ({"hr": {"by": {"covariate": "region", "values": {"europe": 1.0, "asia": 1.0}}}}, NO_EFFECT),
        ({"hr": {"by": {"covariate": "marker", "values": {1: 0.5, 0: 2.0}}}}, HazardRatio(by=ByCategory("marker", (0.0, 1.0), (2.0, 0.5)))),
    ],
)
def test_an_effect_on_an_event_time_becomes_steps_or_categories(keys: dict[str, Any], expected: HazardRatio) -> None:
    assert hazard_ratio(Effect.model_validate(keys), levels=LEVELS, fitted_log_hr=-0.6) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"difference": 2.5}, MeanDifference(2.5)),
        ({"shift": 0}, NO_DIFFERENCE),
        ({"difference": {"w12": 1.5, "w24": 3}}, MeanDifference(1.5)),
        ({"difference": {"w24": 3}}, NO_DIFFERENCE),
        ({"difference": [{"until": "12 weeks", "value": 1}, {"value": 2}]}, MeanDifference(2.0)),
        ({"difference": [{"until": "13 weeks", "value": 1}, {"value": 2}]}, MeanDifference(1.0)),
        ({"difference": {"by": {"covariate": "region", "values": {"europe": 1, "asia": 0}}}}, MeanDifference(by=ByCategory("region", (1.0,), (1.0,)))),
        ({"fitted": 0.5}, MeanDifference(20.0)),
        ({"fitted": 0}, NO_DIFFERENCE),
    ],
)
def test_an_effect_on_a_value_becomes_a_difference_at_the_visit(keys: dict[str, Any], expected: MeanDifference) -> None:
    assert mean_difference(Effect.model_validate(keys), visit="w12", day=84.0, levels=LEVELS, fitted_difference=40.0) == expected


def test_no_declared_effect_is_none() -> None:
    assert hazard_ratio(None, levels={}, fitted_log_hr=-0.6) == NO_EFFECT
    assert mean_difference(None, visit="w12", day=84.0, levels={}, fitted_difference=40.0) == NO_DIFFERENCE


def test_kinds_the_engine_cannot_run_are_named() -> None:
    for kind in ("or", "ratio", "rate_ratio", "p", "percent_slowing"):
        assert list(Effect.model_validate({kind: 0.5}).unsupported()) == []
    assert list(Effect.model_validate({"acceleration": 0.5}).unsupported()) == ["an effect given as acceleration"]
    for kind in ("hr", "difference", "shift", "fitted"):
        assert list(Effect.model_validate({kind: 0.5}).unsupported()) == []
