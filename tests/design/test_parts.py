"""The language of efficacy and futility: every member of every folder, formulas, and messages."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.stats import norm

import trialsim.design as design
from trialsim.design import Efficacy, Futility
from trialsim.design.boundary import BOUNDARIES
from trialsim.design.efficacy import EFFICACY
from trialsim.design.futility import FUTILITY
from trialsim.design.futility.spending import SPENDING_FUTILITY
from trialsim.design.spending import LAWS
from trialsim.parts import Part

EXAMPLES = {
    "efficacy": [
        {"spending": "lan_demets_obrien_fleming"},
        {"spending": "lan_demets_pocock"},
        {"spending": "hwang_shih_decani", "gamma": -4},
        {"spending": "kim_demets", "rho": 2},
        {"spending": "exponential", "nu": 0.75},
        {"spending": "user", "values": [0.01, 0.025]},
        {"boundary": "obrien_fleming"},
        {"boundary": "pocock"},
        {"boundary": "wang_tsiatis", "delta": 0.25},
        {"boundary": "haybittle_peto", "z": 3},
        {"boundary": "z", "values": [3, 2]},
        {"boundary": "p", "values": ["1 %", 0.02]},
        {"posterior_probability": 0.975, "margin": 0.1},
        {"predictive_probability": 0.95},
        {"probability_best": 0.9},
    ],
    "futility": [
        {"spending": "lan_demets_obrien_fleming", "beta": 0.1},
        {"spending": "lan_demets_pocock", "alpha": 0.1, "binding": True},
        {"spending": "hwang_shih_decani", "gamma": -2, "beta": 0.2},
        {"spending": "kim_demets", "rho": 2, "beta": 0.1},
        {"spending": "exponential", "nu": 0.8, "beta": 0.1},
        {"spending": "user", "values": [0.05, 0.1], "beta": 0.1},
        {"z": [0, None]},
        {"hazard_ratio_above": [1.0, 0.9], "binding": False},
        {"conditional_power_below": "10 %", "under": "design"},
        {"predictive_probability_below": 0.05},
    ],
}
TYPES = {"efficacy": TypeAdapter(Efficacy), "futility": TypeAdapter(Futility)}


@pytest.mark.parametrize(("section", "given"), [(section, given) for section, rules in EXAMPLES.items() for given in rules])
def test_every_rule_validates_prints_and_pickles(section, given):
    part = TYPES[section].validate_python(given)
    assert isinstance(part, Part)
    assert TYPES[section].validate_python(part.model_dump()) == part
    assert pickle.loads(pickle.dumps(part)) == part
    assert isinstance(hash(part), int)
    assert all(field.description for field in type(part).model_fields.values())


def test_the_examples_cover_both_unions():
    for section, members in (("efficacy", EFFICACY), ("futility", FUTILITY)):
        assert {type(TYPES[section].validate_python(given)) for given in EXAMPLES[section]} == set(members)


@pytest.mark.parametrize(
    ("folder", "members", "bases"), [("spending", LAWS, {"law"}), ("boundary", BOUNDARIES, {"boundary"}), ("futility", FUTILITY, {"rule", "spending"})]
)
def test_every_file_of_a_folder_is_in_its_union(folder, members, bases):
    files = {path.stem for path in (Path(design.__file__).parent / folder).glob("*.py")} - {"__init__"} - bases
    assert files == {member.__module__.rsplit(".", 1)[1] for member in members if member not in SPENDING_FUTILITY}


@pytest.mark.parametrize("law", [given for given in EXAMPLES["efficacy"] if "spending" in given and given["spending"] != "user"])
@pytest.mark.parametrize("total", [0.025, 0.1])
def test_spending_increases_from_nothing_to_the_total(law, total):
    spent = TYPES["efficacy"].validate_python(law).cumulative(np.linspace(0.0, 1.0, 201), total)
    assert spent[0] == pytest.approx(0.0, abs=1e-15)
    assert spent[-1] == pytest.approx(total, rel=1e-12)
    assert (np.diff(spent) >= 0.0).all()


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ({"spending": "lan_demets_obrien_fleming"}, 2 - 2 * norm.cdf(norm.ppf(1 - 0.025 / 2) / math.sqrt(0.4))),
        ({"spending": "lan_demets_pocock"}, 0.025 * math.log(1 + (math.e - 1) * 0.4)),
        ({"spending": "hwang_shih_decani", "gamma": -4}, 0.025 * (1 - math.exp(1.6)) / (1 - math.exp(4))),
        ({"spending": "hwang_shih_decani", "gamma": 0}, 0.01),
        ({"spending": "kim_demets", "rho": 3}, 0.025 * 0.064),
        ({"spending": "exponential", "nu": 0.75}, 0.025 ** (0.4**-0.75)),
    ],
)
def test_spending_by_its_formula(law, expected):
    assert TYPES["efficacy"].validate_python(law).cumulative(np.array([0.4]), 0.025)[0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        ("efficacy", {"spending": "kim_demet"}, 'spending: unknown word "kim_demet"; did you mean "kim_demets"?'),
        ("efficacy", {"spendin": "kim_demets"}, 'efficacy is not told by "spendin"; did you mean "spending"?'),
        ("efficacy", {"spending": "kim_demets", "boundary": "pocock"}, "efficacy has spending and boundary; give one of them"),
        ("efficacy", 5, "5 is not a rule of efficacy; write for example {spending: lan_demets_obrien_fleming}"),
        ("efficacy", {}, "efficacy is empty; allowed: spending, boundary, "),
        ("efficacy", {"spending": "kim_demets"}, "Field required"),
        ("efficacy", {"spending": "kim_demets", "rho": -1}, "greater than 0"),
        ("efficacy", {"spending": "user", "values": [0.02, 0.01]}, "must not decrease"),
        ("futility", {"spending": "kim_demets", "rho": 1}, "needs beta (spent at the alternative) or alpha (spent under the null), one of them"),
        ("futility", {"spending": "kim_demets", "rho": 1, "beta": 0.1, "alpha": 0.1}, "one of them"),
        ("futility", {"z": [0], "hazard_ratio_above": [1]}, "give one of them"),
        ("futility", {"hazard_ratio_above": [0.0]}, "greater than 0"),
    ],
)
def test_messages(section, given, message):
    with pytest.raises(ValidationError) as caught:
        TYPES[section].validate_python(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("section", "given", "wrong"),
    [
        ("efficacy", {"spending": "user", "values": [0.01]}, "values: 1 given; 3 looks need 3 (or 2, without the final look)"),
        ("efficacy", {"boundary": "z", "values": [3, 2]}, "values: 2 given; 3 looks need 3"),
        ("efficacy", {"boundary": "p", "values": [0.01, 0.02]}, "values: 2 given; 3 looks need 3"),
        ("futility", {"z": [0, 0, 0]}, "z: 3 given; 2 interim looks need 2"),
        ("futility", {"hazard_ratio_above": [1]}, "hazard_ratio_above: 1 given; 2 interim looks need 2"),
    ],
)
def test_values_must_match_the_looks(section, given, wrong):
    assert next(iter(TYPES[section].validate_python(given).check_looks(3))).startswith(wrong)


def test_the_folder_describes_itself_in_the_schema():
    for section, members in (("efficacy", EFFICACY), ("futility", FUTILITY)):
        schema = TYPES[section].json_schema()
        assert len(schema["oneOf"]) == len(members)
