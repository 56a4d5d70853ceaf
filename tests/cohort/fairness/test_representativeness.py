"""Standardised differences by hand, Wilson's interval against statsmodels, reweighting by its result."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint
from witness.samplers import MODELLED, ROLES, Truth, trial

from trialsim.cohort.fairness import representativeness
from trialsim.cohort.fairness.representativeness import wilson
from trialsim.cohort.fairness.target import NumberTarget, Target
from trialsim.cohort.fidelity import SideBySide, side_by_side


@pytest.fixture(scope="module")
def pair() -> SideBySide:
    return side_by_side(trial(800, seed=1), Truth().synthesise(5000, seed=2), modelled=MODELLED, roles=ROLES)[0]


def test_differences_are_standardised_by_the_target(pair):
    target = Target("t", {"age": NumberTarget(54.0, 9.0), "x": NumberTarget(0.5, None)}, {"sex": {"1": 0.5}})
    age, x, sex = representativeness(pair, target).differences
    assert age.real_smd == pytest.approx((pair.by_name["age"].real.mean() - 54) / 9)
    assert age.synthetic_smd == pytest.approx((pair.by_name["age"].synthetic.mean() - 54) / 9)
    assert x.real_smd == pytest.approx((pair.by_name["x"].real.mean() - 0.5) / pair.by_name["x"].real.std(ddof=1))
    p = pair.by_name["sex"].real.mean()
    assert sex.real_smd == pytest.approx((p - 0.5) / np.sqrt((p * (1 - p) + 0.25) / 2))
    assert representativeness(pair, target).largest.column == "x"


@pytest.mark.parametrize("events, n", [(0, 20), (7, 20), (20, 20), (123, 4567)])
def test_wilsons_interval_is_that_of_statsmodels(events, n):
    low, high = proportion_confint(events, n, method="wilson")
    assert wilson(events, n) == pytest.approx((max(0.0, low), min(1.0, high)), abs=1e-12)


def test_goals_are_met_unless_chance_cannot_explain_the_shortfall(pair):
    n, women = 800, pair.by_name["sex"].real.sum()
    low, high = proportion_confint(women, n, method="wilson")
    target = Target("t", {}, {}, {"sex": {"1": 0.6, "0": 0.3}, "site": {"west": float((pair.by_name["site"].real == 2).mean()) + 0.01}})
    missed, more, near = representativeness(pair, target).goals
    assert (missed.difference, missed.ci_low, missed.ci_high) == pytest.approx((women / n - 0.6, low - 0.6, high - 0.6))
    assert (missed.met, more.met, near.met) == (False, True, True)
    assert wilson(0, 0) == (0.0, 1.0)


def test_reweighting_says_how_many_are_left_and_what_cannot_be_met(pair):
    target = Target("t", {"age": NumberTarget(54.0, 8.0)}, {"sex": {"0": 0.5, "1": 0.5}})
    real, synthetic = representativeness(pair, target).reweighting
    assert (real.of, real.n, real.reached) == ("real", 800, True)
    assert 300 < real.ess < 800
    # the same shift of the same law: the same share is left, to within sampling
    assert synthetic.ess / synthetic.n == pytest.approx(real.ess / real.n, abs=0.1)
    beyond = representativeness(pair, Target("t", {"age": NumberTarget(500.0, None)}, {})).reweighting[0]
    assert (beyond.reached, beyond.ess, beyond.columns) == (False, None, ("age",))
    nobody = representativeness(pair, Target("t", {}, {}, {"sex": {"1": 0.5}})).reweighting[0]
    assert (nobody.n, nobody.reached) == (0, False)


def test_incomplete_patients_are_left_out_of_the_weights():
    real = trial(400, seed=3)
    real.columns["age"][:100] = np.nan
    pair, _ = side_by_side(real, Truth().synthesise(500, seed=2), modelled=MODELLED, roles=ROLES)
    assert representativeness(pair, Target("t", {"age": NumberTarget(52.0, None)}, {})).reweighting[0].n == 300
