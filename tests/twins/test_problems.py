"""References that lead nowhere and effects that mean nothing, each with its path."""

from __future__ import annotations

from typing import Any

import pytest

from trialsim.errors import ProtocolError
from trialsim.twins import Truth, TwinModel, problems

EXPONENTIAL = {"dist": "exponential", "median": "12 months"}
AROUND: dict[str, Any] = {
    "arms": ("experimental", "control"),
    "visits": {"baseline": 0.0, "w20": 140.0},
    "covariates": ("ecog", "age", "marker", "region"),
    "levels": {"ecog": ("0", "1"), "region": ("asia", "europe")},
    "units": {"ecog": "", "age": "time", "marker": "", "region": ""},
}


def said(section: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in problems(Truth.model_validate(section), **AROUND)]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimantal": {"death": {"hr": 0.7}}}},
            'truth.effects.experimantal: "experimantal" is not an arm; did you mean "experimental"?',
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"deth": {"hr": 0.7}}}},
            'truth.effects.experimental.deth: "deth" is not an outcome; did you mean "death"?',
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"death": {"difference": 0.7}}}},
            "truth.effects.experimental.death.difference: difference means nothing for this outcome; allowed: hr",
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"death": {"fitted": 1}}}},
            "truth.effects.experimental.death.fitted: fitted means nothing for this outcome; allowed: hr",
        ),
        (
            {"outcomes": {"x": {"dist": "normal", "mean": 0, "sd": 1}}, "effects": {"experimental": {"x": {"hr": 0.7}}}},
            "truth.effects.experimental.x.hr: hr means nothing for this outcome; allowed: difference and shift",
        ),
        (
            {"outcomes": {"x": {"model": "fitted"}}, "effects": {"experimental": {"x": {"difference": {"w02": 1}}}}},
            'truth.effects.experimental.x.difference.w02: "w02" is not a visit; did you mean "w20"?',
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"death": {"hr": {"by": {"covariate": "eocg", "values": {"0": 1}}}}}}},
            'truth.effects.experimental.death.hr.by.covariate: "eocg" is not a covariate; did you mean "ecog"?',
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"death": {"hr": {"by": {"covariate": "ecog", "values": {"0": 1}}}}}}},
            "truth.effects.experimental.death.hr.by.values: every level of ecog needs a value; missing: 1",
        ),
        (
            {"outcomes": {"death": EXPONENTIAL}, "effects": {"experimental": {"death": {"hr": {"by": {"covariate": "marker", "values": {"positive": 1}}}}}}},
            'truth.effects.experimental.death.hr.by.values.positive: marker is a number, so its level "positive" must be one too',
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"ecgo": {"hr": 2}}}}},
            'truth.outcomes.death.prognostic.ecgo: "ecgo" is not a covariate; did you mean "ecog"?',
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"region": {"hr": 2}}}}},
            "truth.outcomes.death.prognostic.region: region is categorical: say which level has the effect; levels: asia and europe",
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"ecog": {"hr": 2, "level": "2"}}}}},
            'truth.outcomes.death.prognostic.ecog.level: "2" is not a level of ecog; allowed: 0, 1',
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"marker": {"shift": 2}}}}},
            "truth.outcomes.death.prognostic.marker: shift means nothing for this outcome; allowed: hr",
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"age": {"hr": 2, "per": 10}}}}},
            "truth.outcomes.death.prognostic.age.per: 10 does not have the unit of age (time)",
        ),
        (
            {"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"marker": {"hr": 2, "center": "1 year"}}}}},
            "truth.outcomes.death.prognostic.marker.center: 365.25 days does not have the unit of marker, which is a bare number",
        ),
        (
            {"censoring": {"dropout": {"contrl": {"dist": "exponential", "rate": "0.1 / month"}}}},
            'truth.censoring.dropout.contrl: "contrl" is not an arm; did you mean "control"?',
        ),
        (
            {"intercurrent_events": {"x": {"cumulative": 0.1, "by": "1 year", "arm_hr": {"contrl": 2}}}},
            'truth.intercurrent_events.x.arm_hr.contrl: "contrl" is not an arm; did you mean "control"?',
        ),
        ({"missing_data": {"x": {"mechanism": "mcar", "rate": 0.1}}}, 'truth.missing_data.x: "x" is not an outcome'),
    ],
)
def test_each_problem_is_one_line_with_its_path(section: dict[str, Any], line: str) -> None:
    assert said(section) == [line]


def test_where_there_are_no_arms_none_is_allowed() -> None:
    section = {
        "outcomes": {"death": EXPONENTIAL},
        "effects": {"experimental": {"death": {"hr": 0.7}}},
        "censoring": {"dropout": {"experimental": {"dist": "exponential", "rate": "0.1 / month"}}},
        "intercurrent_events": {"x": {"cumulative": 0.1, "by": "1 year", "arm_hr": {"experimental": 2}}},
    }
    lines = [str(problem) for problem in problems(Truth.model_validate(section), **{**AROUND, "arms": ()})]
    assert [line.partition(": ")[2] for line in lines] == ['"experimental" is not an arm; the protocol has no arms'] * 3


def test_levels_named_by_their_number_are_numbers_too() -> None:
    assert said({"outcomes": {"death": {**EXPONENTIAL, "prognostic": {"ecog": {"hr": 2}}}}}) == []


def test_all_problems_are_reported_at_once_and_stop_the_twin_model() -> None:
    section = {"outcomes": {"death": EXPONENTIAL}, "effects": {"a": {"death": {"hr": 1}}, "control": {"x": {"hr": 1}}}}
    assert len(said(section)) == 2
    with pytest.raises(ProtocolError) as caught:
        TwinModel(Truth.model_validate(section), arms=("experimental", "control"))
    assert len(caught.value.problems) == 2


def test_states_of_an_illness_death_process_are_targets() -> None:
    laws = dict.fromkeys(("progression", "death", "death_after_progression"), EXPONENTIAL)
    assert (
        said(
            {
                "outcomes": {"ill": {"dist": "illness_death", **laws}},
                "effects": {"experimental": {"progression": {"hr": 0.7}, "death_after_progression": {"hr": 0.9}}},
            }
        )
        == []
    )
