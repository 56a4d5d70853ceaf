"""The gate's rule at its corners, and the number of patients that settles it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trialsim.cohort.disclosure.membership import GroupEstimates
from trialsim.cohort.disclosure.verdict import judged, patients_needed, reasons_for, verdict_of


def groups(*rows: tuple[float, float]) -> GroupEstimates:
    """Groups with these estimates and half-widths."""
    estimate, half = np.array(rows).T
    return GroupEstimates(
        names=("all patients", *(f"g{k}" for k in range(1, len(rows)))),
        n=np.array([1000] + [200] * (len(rows) - 1)),
        estimate=estimate,
        std_error=half / 2,
        critical=2.0,
    )


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([(0.50, 0.04)], "pass"),
        ([(0.50, 0.06)], "inconclusive"),
        ([(0.549, 0.04)], "inconclusive"),  # its lower bound is above 0.5, its estimate not above 0.55
        ([(0.56, 0.05)], "fail"),
        ([(0.56, 0.07)], "inconclusive"),  # its lower bound is below 0.5
        ([(0.51, 0.02), (0.52, 0.02)], "pass"),
        ([(0.51, 0.02), (0.52, 0.05)], "pass"),  # too small a subgroup to be shown below 0.55, and not above it
        ([(0.53, 0.015), (0.56, 0.03), (0.51, 0.03)], "pass"),  # the largest of two that differ no more than chance has it
        ([(0.53, 0.015), (0.60, 0.11)], "inconclusive"),  # apart from the whole, but not clearly from 0.5
        ([(0.51, 0.02), (0.60, 0.05)], "fail"),  # the subgroup alone
        ([(0.90, 0.0)], "fail"),
    ],
)
def test_the_rule(rows: list[tuple[float, float]], verdict: str):
    assert verdict_of(groups(*rows)) == verdict
    assert (patients_needed(groups(*rows)) is None) == (verdict != "inconclusive")


@pytest.mark.parametrize("rows", [[(0.50, 0.06)], [(0.53, 0.03), (0.54, 0.09)], [(0.56, 0.07)], [(0.53, 0.01), (0.62, 0.13), (0.50, 0.01)]])
def test_the_number_needed_settles_it_and_one_patient_fewer_does_not(rows: list[tuple[float, float]]):
    found = groups(*rows)
    needed = patients_needed(found)
    assert needed is not None
    for n, settled in ((needed + 1, True), (needed - 2, False)):
        later = replace(found, std_error=found.std_error * np.sqrt(1000 / n))
        assert (verdict_of(later) != "inconclusive") == settled


def test_an_estimate_on_the_limit_is_settled_by_no_number():
    assert patients_needed(groups((0.55, 0.02))) is None
    assert reasons_for(groups((0.55, 0.02)), "inconclusive", None)[-1] == "no number of patients would settle it at this estimate"


def test_reasons_name_the_groups_that_decide():
    found = groups((0.51, 0.02), (0.60, 0.05), (0.52, 0.05))
    assert reasons_for(found, "fail", None) == ("membership AUC 0.600 (0.550 to 0.650) in g1 (n = 200): above 0.55",)
    many = groups((0.53, 0.03), *[(0.70, 0.10 + 0.01 * k) for k in range(5)])
    assert reasons_for(many, "fail", None) == (
        "membership AUC 0.700 (0.600 to 0.800) in g1 (n = 200): above 0.55",
        "membership AUC 0.700 (0.590 to 0.810) in g2 (n = 200): above 0.55",
        "membership AUC 0.700 (0.580 to 0.820) in g3 (n = 200): above 0.55",
        "and so are 2 more groups",
    )
    assert reasons_for(groups((0.53, 0.03), (0.52, 0.01)), "inconclusive", 3000) == (
        "membership AUC 0.530 (0.500 to 0.560) in all patients (n = 1000): neither below 0.55 nor clearly above",
        "about 3,000 patients would settle it",
    )
    assert reasons_for(groups((0.52, 0.02), (0.52, 0.05), (0.51, 0.02)), "pass", None) == (
        "membership AUC 0.520 (0.500 to 0.540) in all patients (n = 1000): below 0.55; of 2 subgroups none is above 0.55 beyond chance, "
        "1 of them too small to be shown below it",
    )


def test_estimates_of_subgroups_are_drawn_towards_the_whole_as_far_as_chance_explains_them():
    """4,000 honest gates of 28 subgroups (true AUC 0.53, SE 0.012): the largest estimate is above 0.55 in most, the largest judged in few."""
    rng = np.random.default_rng(4)
    raw, drawn = [], []
    for _ in range(4000):
        found = groups((0.53, 0.01), *[(value, 0.024) for value in rng.normal(0.53, 0.012, 28)])
        raw.append(found.estimate[1:].max() > 0.55)
        drawn.append(judged(found)[1:].max() > 0.55)
    assert np.mean(raw) > 0.7
    assert np.mean(drawn) < 0.02
    copied = groups((0.53, 0.01), (0.80, 0.03), *[(0.51, 0.03)] * 27)
    assert judged(copied)[1] > 0.77
