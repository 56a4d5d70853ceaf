"""Calibration in subgroups: errors by lifelines and by hand; the few are named."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from witness.samplers import MODELLED, ROLES, Independent, Truth, trial

from trialsim.cohort.fairness import subgroup_calibration, subgroups
from trialsim.cohort.fairness.calibration import too_few
from trialsim.cohort.fidelity import side_by_side


def test_survival_and_means_of_a_subgroup():
    real = trial(600, seed=1, missing=0.2)
    synthetic = Truth(missing=0.2).synthesise(3000, seed=1)
    pair, _ = side_by_side(real, synthetic, modelled=MODELLED, roles=ROLES)
    groups = [group for group in subgroups(pair) if group.name == "sex = 1"]
    death, value = subgroup_calibration(pair, groups)
    horizon = float(death.quantity.removeprefix("survival to "))
    assert horizon == pytest.approx(np.median(real.columns["time"]), rel=0.05)
    for table, found in ((real, death.real), (synthetic, death.synthetic)):
        rows = table.columns["sex"] == 1
        witness = KaplanMeierFitter().fit(table.columns["time"][rows], table.columns["event"][rows])
        assert found == pytest.approx(float(witness.predict(horizon)))
    own = real.columns["value"][real.columns["sex"] == 1]
    known = own[~np.isnan(own)]
    assert value.real == pytest.approx(known.mean())
    assert value.error.n_real == len(known)
    assert value.error.se == pytest.approx(known.std(ddof=1) / np.sqrt(len(known)), rel=0.15)  # and a little for the synthetic side
    assert value.phrase == "the mean of value among sex = 1"


def test_the_true_law_is_calibrated_and_a_broken_one_is_not():
    real = trial(1500, seed=5)
    for model, most in ((Truth(), 4.0), (Independent(real, ROLES, MODELLED), np.inf)):
        pair, _ = side_by_side(real, model.synthesise(30_000, seed=1), modelled=MODELLED, roles=ROLES)
        largest = max(abs(each.z) for each in subgroup_calibration(pair, subgroups(pair)))
        assert largest < most
        assert largest > 8 or most == 4.0


def test_the_few_are_named_and_not_judged():
    real = trial(120, seed=2)
    pair, _ = side_by_side(real, Truth().synthesise(2000, seed=1), modelled=MODELLED, roles=ROLES)
    groups = subgroups(pair)
    few = {group.name for group in too_few(groups)}
    assert "site = west" in few
    assert few.isdisjoint(each.subgroup for each in subgroup_calibration(pair, groups))
    assert {each.subgroup for each in subgroup_calibration(pair, groups)} | few == {group.name for group in groups}
