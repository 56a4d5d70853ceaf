"""What the levels of an arm's companions add to outcomes: the design, known truths found again, and none where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from lifelines import CoxPHFitter, KaplanMeierFitter
from pandas import DataFrame

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.outcomes import Companions, FittedOutcomes, fit_outcomes
from trialsim.cohort.fitted.outcomes.companions import LevelDesign
from trialsim.cohort.fitted.outcomes.events import fit_event
from trialsim.cohort.fitted.outcomes.values import fit_value
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

ARMS = ("new", "old")
X = (Term("x", "linear", (), 0.0, 1.0),)
EFFECT = np.array([0.5, 0.0, -0.5])  # of levels 0, 1, 2 of the drug; level 3 is the old arm


def _trial(n: int, seed: int, effect: np.ndarray = EFFECT) -> dict[str, Any]:
    """Log HRs of death, of leaving, and differences of y (in its SD of 10) by drug: `effect`, −`effect`, 10 `effect`; no other effect of arm.

    y is missing in 10 % of drug 0, 50 % of drug 2 and 30 % else where effects are not 0.
    """
    rng = np.random.default_rng(seed)
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    drug = np.where(arm == 0, rng.integers(0, 3, n), 3)
    own = np.append(effect, 0.0)[drug]
    death = rng.exponential(500 * np.exp(-0.5 * x - own))
    end = rng.exponential(600 * np.exp(own))
    y = 100 + 5 * x + 10 * own + rng.normal(0, 10, n)
    y[rng.random(n) < 0.3 - 0.4 * own] = np.nan
    return {"x": x, "arm": arm, "drug": drug, "time": np.minimum(death, end), "event": (death <= end).astype(float), "y": y}


def _common(trial: dict[str, Any]) -> dict[str, Any]:
    return {"arms": ARMS, "reference": 1, "arm": trial["arm"], "terms": X, "design": torch.from_numpy(trial["x"])[:, None]}


def _companions(trial: dict[str, Any]) -> Companions:
    return Companions({"drug": trial["drug"].astype(np.int64)}, {"drug": 4})


def _levels(trial: dict[str, Any]) -> LevelDesign:
    return LevelDesign.of(_companions(trial), arms=ARMS, arm=trial["arm"])


@pytest.fixture(scope="module")
def trial() -> dict[str, Any]:
    return _trial(6000, 1)


@pytest.fixture(scope="module")
def fitted(trial) -> FittedOutcomes:
    with isolated(1):
        return fit_outcomes(
            events={"death": (trial["time"], trial["event"])}, values={("y", "w60"): trial["y"]}, baselines={}, companions=_companions(trial), **_common(trial)
        )


def test_indicators_average_to_nothing_in_their_arm_and_effects_are_what_they_add(trial):
    trial = {**trial, "drug": np.where(np.arange(6000) % 7 == 0, -1, trial["drug"])}
    design = _levels(trial)
    assert [place[:3] for place in design.places] == [("drug", "new", level) for level in (0, 1, 2)]
    for place in (0, 1):
        np.testing.assert_allclose(design.columns[trial["arm"] == place].sum(0), 0, atol=1e-9)
    weights = np.array([0.3, -0.2, 0.7])
    table = np.append(design.effects(weights)["drug"]["new"], 0.0)  # a missing level, −1, adds nothing
    np.testing.assert_allclose(np.where(trial["arm"] == 0, table[trial["drug"]], 0.0), design.columns @ weights, atol=1e-12)
    assert design.effects(np.zeros(3)) == {}


def test_companions_that_do_not_divide_an_arm_or_repeat_another_add_no_columns(trial):
    arm, drug = trial["arm"], trial["drug"]
    both = Companions(
        {"drug": drug, "again": drug.copy(), "same": arm, "rare": np.where(np.arange(6000) < 4, 1, 0)}, {"drug": 4, "again": 4, "same": 2, "rare": 2}
    )
    assert LevelDesign.of(both, arms=ARMS, arm=arm).places == _levels(trial).places
    assert LevelDesign.of(None, arms=ARMS, arm=arm).columns.shape == (6000, 0)


def test_levels_of_a_value_are_those_of_least_squares_and_the_arm_keeps_its_difference(trial):
    """1,000 patients a level: the prior (SD 0.5 of y's or so) moves an effect by less than a quarter of its SE."""
    fitted, plain = (fit_value(trial["y"], baseline=None, **_common(trial), **more) for more in ({"levels": _levels(trial)}, {}))
    seen = ~np.isnan(trial["y"])
    design = np.column_stack((np.eye(4)[trial["drug"]], trial["x"]))[seen]
    witness = sm.OLS(trial["y"][seen], design).fit()
    found = fitted.varied.means["new"] + np.array(fitted.varied.companions["drug"]["new"])[:3]
    np.testing.assert_allclose(found, witness.params[:3], atol=0.25 * witness.bse[:3].max())
    np.testing.assert_allclose(np.diff(found), 10 * np.diff(EFFECT), atol=4 * np.sqrt(2) * witness.bse[:3].max())
    assert fitted.varied.level_scale > 0
    assert fitted.arm_difference["new"] == pytest.approx(plain.arm_difference["new"], rel=1e-9)  # what trials use; sums in another order


def test_levels_of_an_event_are_those_of_a_cox_regression(trial):
    """Differences of log hazards between levels, against Cox with an indicator of each; within a third of an SE, and 4 SE of the truth."""
    fitted, plain = (fit_event(trial["time"], trial["event"], **_common(trial), **more) for more in ({"levels": _levels(trial)}, {}))
    frame = DataFrame({"t": trial["time"], "d": trial["event"], "x": trial["x"], **{f"drug{k}": trial["drug"] == k for k in (0, 2, 3)}}).astype(float)
    cox = CoxPHFitter().fit(frame, "t", "d")
    table = fitted.varied.companions["drug"]["new"]
    for level in (0, 2):
        se = cox.standard_errors_[f"drug{level}"]
        assert abs(table[level] - table[1] - cox.params_[f"drug{level}"]) < se / 3
        assert abs(table[level] - table[1] - EFFECT[level]) < 4 * se
    assert fitted.arm_log_hr["new"] == pytest.approx(plain.arm_log_hr["new"], rel=1e-9)  # what trials use; sums in another order


def test_where_levels_add_nothing_the_evidence_says_so():
    """Of 20 outcomes in which the drug does not matter most have none, and the effects' root mean square is below half an SE.

    SEs of a level's mean against its arm's: √(2 / 3) of SD / √n, with the SD of y (10) and that of a log hazard (1) and the
    patients who have y or died. Estimates that nothing shrinks have a root mean square of 1 SE.
    """
    none, squares = 0, []
    for seed in range(10):
        trial = _trial(2000, 100 + seed, np.zeros(3))
        value = fit_value(trial["y"], baseline=None, **_common(trial), levels=_levels(trial)).varied
        event = fit_event(trial["time"], trial["event"], **_common(trial), levels=_levels(trial)).varied
        new = trial["arm"] == 0
        for law, sd, n in ((value, 10.0, (~np.isnan(trial["y"][new])).sum() / 3), (event, 1.0, trial["event"][new].sum() / 3)):
            none += law.level_scale == 0
            row = law.companions["drug"]["new"][:3] if law.companions else (0.0,) * 3
            squares += [(effect / (sd * np.sqrt(2 / 3 / n))) ** 2 for effect in row]
    assert none >= 11
    assert np.sqrt(np.mean(squares)) < 0.5


def _draw(fitted: FittedOutcomes, trial: dict[str, Any], replicates: int, *, known: bool = True) -> dict[tuple[str, str], np.ndarray]:
    x, arm, drug = (torch.from_numpy(trial[name])[None].expand(replicates, -1) for name in ("x", "arm", "drug"))
    drawn = fitted.synthesise(Cohort({"x": x}), arm, Streams(5), Block(0, replicates), {"drug": drug} if known else None)
    return {key: column.numpy() for key, column in drawn.items()}


def test_what_is_drawn_at_every_level_looks_like_the_trial(fitted, trial):
    """Curves of death and of leaving at three days, mean of y and its missing share, by drug; within 3.5 SE of the one real trial (44 comparisons)."""
    drawn = _draw(fitted, trial, 10)
    assert fitted.censoring["death"].level_scale > 0
    assert fitted.missing["y", "w60"].level_scale > 0
    for level in range(4):
        real, new = trial["drug"] == level, np.tile(trial["drug"] == level, (10, 1))
        n = real.sum()
        for event in (1, 0):
            one = KaplanMeierFitter().fit(trial["time"][real], trial["event"][real] == event)
            two = KaplanMeierFitter().fit(drawn["death", "time"][new], drawn["death", "event"][new] == event)
            days = [50, 150, 400]
            a, b = (curve.survival_function_at_times(days).to_numpy() for curve in (one, two))
            at_risk = np.array([(trial["time"][real] > day).sum() for day in days])
            assert (np.abs(a - b) < 3.5 * np.sqrt(a**2 * (1 - a) / at_risk * 1.1)).all(), (level, event)
        y, share = trial["y"][real], np.isnan(trial["y"][real]).mean()
        assert abs(np.nanmean(y) - np.nanmean(drawn["y", "w60"][new])) < 3.5 * np.nanstd(y) / np.sqrt(n * (1 - share)) * 1.1
        assert abs(share - np.isnan(drawn["y", "w60"][new]).mean()) < 3.5 * 0.5 / np.sqrt(n) * 1.1


def test_a_patient_whose_level_nobody_tells_is_at_the_arms_mean(fitted, trial):
    """Without companions, and with a missing level: the same numbers; and in the arm that nothing divides the same as with them."""
    whole, without = _draw(fitted, trial, 2), _draw(fitted, trial, 2, known=False)
    missing = _draw(fitted, {**trial, "drug": np.full(6000, -1)}, 2)
    old = np.tile(trial["arm"] == 1, (2, 1))
    for key, column in without.items():
        np.testing.assert_array_equal(column, missing[key])
        np.testing.assert_array_equal(column[old], whole[key][old])
    complete = replace(fitted, missing={})
    one, two = (_draw(complete, trial, 2, known=known)["y", "w60"][~old].mean() for known in (True, False))
    assert abs(one - two) < 0.1  # the same patients; 1 % of the SD, for spreads that differ between levels


def test_they_are_stored_and_refits_take_their_scales(fitted, trial):
    again = FittedOutcomes.of(fitted.tensors(), json.loads(json.dumps(fitted.options())))
    for key, column in _draw(fitted, trial, 1).items():
        np.testing.assert_array_equal(column, _draw(again, trial, 1)[key])
    half = {name: column[:3000] for name, column in trial.items()}
    with isolated(1):
        refit = fit_outcomes(
            events={"death": (half["time"], half["event"])},
            values={("y", "w60"): half["y"]},
            baselines={},
            companions=_companions(half),
            like=fitted,
            **_common(half),
        )
    assert refit.events["death"].varied.level_scale == fitted.events["death"].varied.level_scale
    assert refit.values["y", "w60"].varied.level_scale == fitted.values["y", "w60"].varied.level_scale
    assert refit.censoring["death"].level_scale == fitted.censoring["death"].level_scale
    assert refit.missing["y", "w60"].level_scale == fitted.missing["y", "w60"].level_scale
