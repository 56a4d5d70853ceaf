"""Effects against lifelines and SciPy; the simultaneous bounds against simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy import stats
from witness.samplers import MODELLED, ROLES, Bootstrap, Independent, Truth, table_of, trial

from trialsim.cohort.fairness import subgroups
from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.sampler import OutcomeRoles
from trialsim.evaluation.effect_preservation import most_beyond, preservation, simultaneous_bound


def _preserved(real, model, *, m=20_000, fewest=300):
    pair, _ = side_by_side(real, model.synthesise(m, seed=4), modelled=model.modelled, roles=model.roles)
    return preservation(pair, subgroups(pair), fewest=fewest)


def test_effects_are_those_of_lifelines_and_welch():
    real = trial(700, seed=2, missing=0.1)
    found = {(e.outcome, e.subgroup): e for e in _preserved(real, Truth(missing=0.1)).effects}
    frame = pd.DataFrame({name: real.columns[name] for name in ("time", "event", "arm", "sex", "value")})
    for subgroup, rows in ((None, frame), ("sex = 0", frame[frame["sex"] == 0])):
        witness = CoxPHFitter().fit(rows[["time", "event", "arm"]], "time", "event")
        effect = found["death", subgroup]
        assert effect.real == pytest.approx(witness.params_["arm"], abs=1e-6)
        assert effect.real_se == pytest.approx(witness.standard_errors_["arm"], rel=1e-5)
        assert effect.n_real == len(rows)
        known = rows.dropna()
        test, reference = known.loc[known["arm"] == 1, "value"], known.loc[known["arm"] == 0, "value"]
        value = found["value", subgroup]
        assert value.real == pytest.approx(test.mean() - reference.mean())
        welch = stats.ttest_ind(test, reference, equal_var=False)
        assert value.real / value.real_se == pytest.approx(welch.statistic)
        assert value.sd == pytest.approx(frame["value"].std())


def test_overall_comes_first_and_small_subgroups_are_named():
    found = _preserved(trial(700, seed=2), Truth())
    assert [effect.subgroup for effect in found.effects[:2]] == [None, None]
    assert len(found.overall) == 2
    given = {effect.subgroup for effect in found.in_subgroups}
    abstained = {each.subgroup: each for each in found.abstained}
    assert "sex = 0" in given
    assert abstained["site = west"].why == "fewer than 300 patients"
    assert given.isdisjoint(abstained)


def test_the_true_law_is_within_chance_and_broken_effects_are_not():
    real = trial(2000, seed=7, log_hr=-0.6)
    true, broken = _preserved(real, Truth(log_hr=-0.6)), _preserved(real, Independent(real, ROLES, MODELLED))
    k = len(true.in_subgroups)
    assert len(true.beyond) <= most_beyond(k)
    assert max(abs(effect.z) for effect in true.in_subgroups) < simultaneous_bound(k)
    assert len(broken.beyond) > most_beyond(k)
    assert max(abs(effect.z) for effect in broken.in_subgroups) > simultaneous_bound(k)
    assert abs(_preserved(real, Bootstrap(real, ROLES, MODELLED)).overall[0].error) < 0.06  # repeats the data: 4 · 0.015


def test_every_arm_is_compared_with_the_reference():
    rng = np.random.default_rng(1)
    arm, n = rng.integers(0, 3, 900).astype(float), 900
    table = table_of({"arm": arm, "y": arm + rng.standard_normal(n)}, levels={"arm": ("placebo", "low", "high")})
    roles = OutcomeRoles("arm", {}, {"y": None})
    pair, _ = side_by_side(table, table, modelled=["arm", "y"], roles=roles)
    low, high = preservation(pair, ()).effects
    assert (low.arm, high.arm, low.reference) == ("low", "high", "placebo")
    assert high.name == "y: difference in means, high against placebo"
    assert high.real == pytest.approx(2, abs=4 * high.real_se)
    assert (low.error, high.error) == (0.0, 0.0)


def test_an_effect_that_does_not_exist_is_an_abstention():
    columns = {"arm": np.repeat([0.0, 1.0], 50), "time": np.arange(1.0, 101.0), "event": np.repeat([0.0, 1.0], 50)}
    pair, _ = side_by_side(table_of(columns), table_of(columns), modelled=list(columns), roles=OutcomeRoles("arm", {"e": ("time", "event")}, {}))
    found = preservation(pair, ())
    assert found.effects == ()
    assert found.abstained[0].why == "no events in an arm among the real patients"
    one_arm, _ = side_by_side(table_of({"y": np.arange(60.0)}), table_of({"y": np.arange(60.0)}), modelled=["y"], roles=OutcomeRoles(None, {}, {"y": None}))
    assert preservation(one_arm, ()).effects == ()


def test_bounds_hold_for_independent_and_for_correlated_errors():
    """K = 20 normals, independent and with correlation 0.5, 20,000 times: at most 5 % and 1 % are rejected (+ 4 MCSE)."""
    rng = np.random.default_rng(1)
    k, draws = 20, 20_000
    bound, most = simultaneous_bound(k), most_beyond(k)
    for rho in (0.0, 0.5):
        z = np.sqrt(rho) * rng.standard_normal((draws, 1)) + np.sqrt(1 - rho) * rng.standard_normal((draws, k))
        beyond = (np.abs(z).max(axis=1) > bound).mean()
        assert beyond < 0.05 + 4 * np.sqrt(0.05 * 0.95 / draws)
        if rho == 0:
            assert beyond == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / draws))
            assert ((np.abs(z) > 2).sum(axis=1) > most).mean() < 0.01 + 4 * np.sqrt(0.01 / draws)
    assert simultaneous_bound(1) == pytest.approx(1.959964, abs=1e-6)
    assert most_beyond(0) == 0
