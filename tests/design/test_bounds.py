"""Bounds against rpact and gsDesign, and against what defines them."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.optimize import brentq
from scipy.special import ndtri

from trialsim.design import Efficacy, Futility, bounds, crossing_probabilities
from trialsim.errors import NotSupportedError, ProtocolError

REFERENCE = Path(__file__).parents[1] / "reference" / "gs_boundaries.csv"
NAMES = {
    "OF": {"boundary": "obrien_fleming"},
    "P": {"boundary": "pocock"},
    "Pocock": {"boundary": "pocock"},
    "HP": {"boundary": "haybittle_peto", "z": 3},
    "LDOF": {"spending": "lan_demets_obrien_fleming"},
    "LDPocock": {"spending": "lan_demets_pocock"},
}
SHAPED = {
    "WT": ({"boundary": "wang_tsiatis"}, "delta"),
    "HSD": ({"spending": "hwang_shih_decani"}, "gamma"),
    "KD": ({"spending": "kim_demets"}, "rho"),
    "Power": ({"spending": "kim_demets"}, "rho"),
    "Exponential": ({"spending": "exponential"}, "nu"),
}


def efficacy(rule):
    return TypeAdapter(Efficacy).validate_python(rule)


def futility(rule):
    return TypeAdapter(Futility).validate_python(rule)


def rule(family: str, parameter: str) -> dict:
    """The rule that a package's name of a family stands for."""
    if family in ("asOF", "bsOF", "asP", "bsP"):
        return NAMES["LDOF" if family.endswith("OF") else "LDPocock"]
    name = family[2:] if family[:2] in ("as", "bs", "sf") else family
    if name in NAMES:
        return NAMES[name]
    base, key = SHAPED[name]
    return {**base, key: float(parameter)}


def cases() -> dict[str, list[dict[str, str]]]:
    found = defaultdict(list)
    with REFERENCE.open() as file:
        for row in csv.DictReader(file):
            found[row["case"]].append(row)
    return {case: sorted(rows, key=lambda row: int(row["look"])) for case, rows in found.items()}


CASES = cases()


def designed(first: dict[str, str]):
    lower = None
    if first["fut_family"] != "NA":
        spends = {"alpha": 0.1} if first["kind"].startswith("lower_alpha") else {"beta": float(first["beta"])}
        lower = {**rule(first["fut_family"], first["fut_param"]), **spends, "binding": first["binding"] == "TRUE"}
    elif first["futility"].startswith("fixed_z"):
        lower = {"z": [0.2] * (int(first["K"]) - 1), "binding": first["binding"] == "TRUE"}
    return bounds(
        efficacy=efficacy(rule(first["family"], first["param"])),
        futility=futility(lower) if lower else None,
        alpha=float(first["alpha"]),
        sides=int(first["sided"]),
        information=[float(fraction) for fraction in first["info"].split(";")],
    )


@pytest.mark.parametrize("case", sorted(CASES))
def test_reference_design(case):
    """z, cumulative alpha, inflation, expected sizes and crossing probabilities of one published design."""
    rows, first = CASES[case], CASES[case][0]
    made = designed(first)
    # gsDesign's own tolerance on binding bounds is 2e-5; everything else agrees better.
    close = 3e-5 if first["pkg"] == "gsDesign" and first["binding"] == "TRUE" else 3e-6 if first["pkg"] == "gsDesign" else 3e-7

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    assert made.efficacy_z == pytest.approx(column("z_upper"), abs=close)
    assert made.cumulative_alpha == pytest.approx(column("cum_alpha"), abs=2e-8)
    if first["z_lower"] != "NA" and first["sided"] == "1":
        assert made.futility_z == pytest.approx(column("z_lower"), abs=close)
    drift = made.drift if math.isfinite(made.drift) else brentq(lambda x: made.crossing(drift=x).upper.sum() - 0.9, 1.0, 6.0, xtol=1e-12)
    inflation = drift**2 / (ndtri(1 - float(first["alpha"]) / int(first["sided"])) + ndtri(0.9)) ** 2
    assert inflation == pytest.approx(float(first["inflation"]), abs=close)
    for name, effect in (("asn_ratio_H0", 0.0), ("asn_ratio_H01", drift / 2), ("asn_ratio_H1", drift)):
        if first[name] != "NA":
            assert inflation * (made.crossing(drift=effect).stop @ made.information) == pytest.approx(float(first[name]), abs=close)
    for effect, suffix in ((0.0, "H0"), (drift, "H1")):
        if first[f"p_up_{suffix}"] != "NA":
            crossing = made.crossing(drift=effect)
            assert crossing.upper == pytest.approx(column(f"p_up_{suffix}"), abs=close)
            if first[f"p_lo_{suffix}"] != "NA":
                assert crossing.lower == pytest.approx(column(f"p_lo_{suffix}"), abs=close)


def test_without_a_rule_all_alpha_is_at_the_final_look():
    made = bounds(efficacy=None, futility=None, alpha=0.05, sides=2, information=[0.4, 0.7, 1.0])
    assert np.isnan(made.efficacy_z[:2]).all()
    assert made.efficacy_z[2] == pytest.approx(-ndtri(0.025), abs=1e-10)
    assert made.cumulative_alpha == pytest.approx([0, 0, 0.05], abs=1e-12)


def test_user_spending_is_on_the_scale_of_alpha():
    one = bounds(efficacy=efficacy({"spending": "user", "values": [0.005, 0.012]}), futility=None, alpha=0.025, sides=1, information=[0.3, 0.6, 1.0])
    two = bounds(efficacy=efficacy({"spending": "user", "values": [0.01, 0.024, 0.05]}), futility=None, alpha=0.05, sides=2, information=[0.3, 0.6, 1.0])
    assert one.cumulative_alpha == pytest.approx([0.005, 0.012, 0.025], abs=1e-10)
    assert two.cumulative_alpha == pytest.approx([0.01, 0.024, 0.05], abs=1e-10)
    assert two.efficacy_z[0] == pytest.approx(-ndtri(0.005), abs=1e-10)


def test_stated_bounds_report_what_they_spend():
    z = bounds(efficacy=efficacy({"boundary": "z", "values": [1.96, 1.96]}), futility=None, alpha=0.025, sides=1, information=[0.5, 1.0])
    p = bounds(efficacy=efficacy({"boundary": "p", "values": [0.05, 0.05]}), futility=None, alpha=0.05, sides=2, information=[0.5, 1.0])
    assert p.efficacy_z == pytest.approx([1.959964, 1.959964], abs=1e-6)
    assert p.cumulative_alpha[1] == pytest.approx(0.0831, abs=5e-5)  # Armitage, McPherson & Rowe 1969, table 2: 0.083 for two tests
    assert z.cumulative_alpha[1] == pytest.approx(0.0831 / 2, abs=5e-5)


def test_binding_hazard_ratio_futility_equals_futility_by_its_z():
    arguments = {"efficacy": efficacy({"spending": "lan_demets_obrien_fleming"}), "alpha": 0.025, "sides": 1, "information": [0.5, 1.0]}
    ratio = bounds(**arguments, futility=futility({"hazard_ratio_above": [1.1], "binding": True}), events=[125, 250], test_share=2 / 3)
    z = -math.log(1.1) * math.sqrt(125 * 2 / 9)
    stated = bounds(**arguments, futility=futility({"z": [z], "binding": True}))
    assert ratio.futility_z[0] == pytest.approx(z)
    assert ratio.efficacy_z == pytest.approx(stated.efficacy_z, abs=1e-12)
    assert ratio.efficacy_z[1] < 1.96859
    with pytest.raises(ProtocolError, match="needs the number of events"):
        bounds(**arguments, futility=futility({"hazard_ratio_above": [1.1], "binding": True}))


@pytest.mark.parametrize("rule", [{"spending": "lan_demets_pocock"}, {"boundary": "pocock"}, {"boundary": "haybittle_peto", "z": 2.9}, None])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_trial_that_ends_early_spends_all_of_alpha(rule, sides):
    made = bounds(efficacy=efficacy(rule) if rule else None, futility=None, alpha=0.05, sides=sides, information=[0.5, 0.83], planned=[0.5, 0.75, 1.0])
    planned = bounds(efficacy=efficacy(rule) if rule else None, futility=None, alpha=0.05, sides=sides, information=[0.5, 0.75, 1.0])
    assert made.efficacy_z[0] == pytest.approx(planned.efficacy_z[0], abs=1e-10, nan_ok=True)
    rejected = crossing_probabilities(information=[0.5, 0.83], upper=made.efficacy_z, lower=-made.efficacy_z if sides == 2 else None).upper.sum()
    assert rejected * sides == pytest.approx(0.05, abs=1e-10)


@pytest.mark.parametrize(
    "rule", [{"spending": "hwang_shih_decani", "gamma": -2}, {"boundary": "wang_tsiatis", "delta": 0.2}, {"boundary": "z", "values": [3, 2.5, 2]}]
)
def test_looks_so_far_have_the_bounds_of_the_plan(rule):
    plan = [0.4, 0.7, 1.0]
    arguments = {"efficacy": efficacy(rule), "futility": futility({"spending": "kim_demets", "rho": 2, "beta": 0.1}), "alpha": 0.025, "sides": 1}
    whole = bounds(**arguments, information=plan)
    so_far = bounds(**arguments, information=plan[:2], final=False, planned=plan)
    assert so_far.efficacy_z == pytest.approx(whole.efficacy_z[:2], abs=1e-9)
    assert so_far.futility_z == pytest.approx(whole.futility_z[:2], abs=1e-9)
    assert so_far.cumulative_alpha == pytest.approx(whole.cumulative_alpha[:2], abs=1e-12)


def test_the_plan_of_a_shape_knows_all_its_futility():
    """Binding futility at later looks bears on the constant of the first."""
    plan, rule = [0.4, 0.7, 1.0], futility({"hazard_ratio_above": [1.2, 1.0], "binding": True})
    arguments = {"efficacy": efficacy({"boundary": "pocock"}), "futility": rule, "alpha": 0.025, "sides": 1, "test_share": 0.5}
    whole = bounds(**arguments, information=plan, events=[100, 175, 250])
    first = bounds(**arguments, information=plan[:1], events=[100], final=False, planned=plan)
    assert first.efficacy_z[0] == pytest.approx(whole.efficacy_z[0], abs=1e-9)
    assert first.futility_z[0] == pytest.approx(whole.futility_z[0], abs=1e-12)


def test_a_shape_needs_its_plan():
    with pytest.raises(ProtocolError, match="pocock depends on all planned looks"):
        bounds(efficacy=efficacy({"boundary": "pocock"}), futility=None, alpha=0.025, sides=1, information=[0.5], final=False)


def test_boundary_by_shape_with_binding_beta_spending():
    """No package solves this pair; the definitions do: alpha under the null, beta at the drift, futility obeyed in both."""
    made = bounds(
        efficacy=efficacy({"boundary": "pocock"}),
        futility=futility({"spending": "kim_demets", "rho": 2, "beta": 0.2, "binding": True}),
        alpha=0.025,
        sides=1,
        information=[0.3, 0.6, 1.0],
    )
    assert np.ptp(made.efficacy_z) < 1e-9
    assert made.crossing().upper.sum() == pytest.approx(0.025, abs=1e-10)
    assert np.cumsum(made.crossing(drift=made.drift).lower) == pytest.approx(0.2 * np.array([0.09, 0.36, 1.0]), abs=1e-9)
    assert made.power(drift=made.drift) == pytest.approx(0.8, abs=1e-9)


def test_the_power_of_a_two_sided_test_counts_both_directions():
    made = bounds(efficacy=efficacy({"boundary": "pocock"}), futility=None, alpha=0.05, sides=2, information=[0.5, 1.0])
    assert made.power() == pytest.approx(0.05, abs=1e-10)
    assert made.power(drift=-2.0) == pytest.approx(made.power(drift=2.0), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"efficacy": {"boundary": "haybittle_peto", "z": 1.5}}, ProtocolError, "alone spend more than alpha = 0.025"),
        ({"futility": {"z": [0, 3], "binding": True}}, ProtocolError, "alpha = 0.025 cannot be spent"),
        ({"information": [0.5, 0.5, 1.0]}, ProtocolError, "must increase"),
        ({"sides": 2, "futility": {"z": [0, 0]}}, NotSupportedError, "futility with sides: 2"),
        ({"efficacy": {"posterior_probability": 0.975}}, NotSupportedError, "posterior_probability"),
        ({"futility": {"conditional_power_below": 0.1}}, NotSupportedError, "conditional power"),
    ],
)
def test_what_cannot_be_is_refused(given, error, message):
    arguments = {"efficacy": {"spending": "lan_demets_obrien_fleming"}, "futility": None, "alpha": 0.025, "sides": 1, "information": [0.3, 0.6, 1.0], **given}
    arguments["efficacy"] = efficacy(arguments["efficacy"])
    arguments["futility"] = futility(arguments["futility"]) if arguments["futility"] else None
    with pytest.raises(error, match=message):
        bounds(**arguments)


def test_very_early_looks_have_no_bound_and_no_warning():
    made = bounds(efficacy=efficacy({"spending": "lan_demets_obrien_fleming"}), futility=None, alpha=0.025, sides=1, information=[0.001, 0.01, 0.5, 1.0])
    assert math.isnan(made.efficacy_z[0])
    assert made.efficacy_z[1] == pytest.approx(22.38, abs=0.01)
    assert made.efficacy_z[2:] == pytest.approx([2.962588, 1.968596], abs=1e-6)
