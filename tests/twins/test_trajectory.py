"""Straight lines per patient: means and the marginal covariance against the formula, slowing, the twin's knowledge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from trialsim.errors import ProtocolError
from trialsim.rng import Block

WIDE, N = Block(0, 400), 150
VISITS = {"w0": 0.0, "w12": 84.0, "w24": 168.0, "w48": 336.0}
YEAR = 365.25


def outcome(**more: Any) -> dict[str, Any]:
    return {"model": "linear_mixed", "baseline": 10.0, "slope": "3 / year", "slope_sd": "2 / year", "residual": {"sd": 1.5}} | more


@pytest.mark.parametrize("corr", [None, {"ar1": 0.4}, {"ar1": -0.5}, {"compound_symmetry": 0.3}])
def test_the_covariance_of_visits_is_that_of_the_formula(twins: Any, corr: dict[str, float] | None) -> None:
    """slope_sd^2 t t' + sd^2 corr, under every arm; a sample covariance has sd sqrt((s_jj s_kk + s_jk^2) / n)."""
    world = twins(outcome(residual={"sd": 1.5, "corr": corr}), {"experimental": {"percent_slowing": "50 %"}}, visits=VISITS)
    t = np.array(list(VISITS.values())) / YEAR
    lag = np.abs(np.arange(4)[:, None] - np.arange(4))
    by_lag = np.where(lag == 0, 1.0, 0.0) if corr is None else corr["ar1"] ** lag if "ar1" in corr else np.where(lag == 0, 1.0, corr["compound_symmetry"])
    expected = 4.0 * np.outer(t, t) + 2.25 * by_lag
    for arm in (0, 1):
        values = np.stack([world.values(visit, arm, block=WIDE).numpy().ravel() for visit in VISITS])
        n, found = values.shape[1], np.cov(values)
        spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
        assert (np.abs(found - expected) < 4 * spread).all()
        mean = 10 + 3 * t * (0.5 if arm == 0 else 1.0)
        assert (np.abs(values.mean(axis=1) - mean) < 4 * np.sqrt(np.diag(expected) / n)).all()


def test_all_visits_at_once_are_the_single_ones_bit_for_bit(twins: Any) -> None:
    world = twins(outcome(residual={"sd": 1.5, "corr": {"ar1": 0.4}}, prognosis_correlation=0.3), visits=VISITS)
    where = {"streams": world.streams, "block": Block(3, 5), "n": 70, "cohort": world.cohort(Block(3, 5), 70), "arm": 0}
    together = world.model.values("y", ["w48", "w12"], **where)
    for visit in ("w48", "w12"):
        assert torch.equal(together[visit], world.model.value("y", visit, **where))


def test_slowing_begins_at_its_onset_and_leaves_deviations_alone(twins: Any) -> None:
    world = twins(outcome(), {"experimental": {"percent_slowing": "40 %", "onset": "12 weeks"}, "third": {"difference": {"w24": -1.0}}}, visits=VISITS)
    for visit, day in VISITS.items():
        change = -0.4 * 3 / YEAR * max(day - 84, 0)
        torch.testing.assert_close(world.values(visit, 0) - world.values(visit, 1), torch.full((20, 150), change, dtype=torch.float64), rtol=0, atol=1e-11)
        assert world.model.mean_difference("y", visit, None, 0, 1) == pytest.approx(change, abs=1e-14)
        assert world.model.mean_difference("y", visit, None, 2, 1) == (-1.0 if visit == "w24" else 0.0)
        assert world.model.effect_is_identity("y", 0, 1, visit) == (day <= 84)


def test_a_covariate_can_be_the_baseline_and_move_slope_and_level(twins: Any) -> None:
    prognostic = {"ecog": {"slope": "1 / year", "level": "1"}, "marker": {"shift": 0.5}}
    world = twins(outcome(baseline="age", prognostic=prognostic, slope_sd=None, residual=None), {"experimental": {"percent_slowing": 0.5}}, visits=VISITS)
    cohort = world.cohort(WIDE, N)
    age, ecog, marker = (torch.nan_to_num(cohort.columns[name]) for name in ("age", "ecog", "marker"))
    assert torch.equal(world.values("w0", 0, block=WIDE), age)
    for arm, share in ((0, 0.5), (1, 1.0)):
        expected = age + 0.5 * marker + (3 + ecog) / YEAR * 336 * share
        torch.testing.assert_close(world.values("w48", arm, block=WIDE), expected, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(world.model.prognosis("y", "w48", cohort), age + 0.5 * marker + (3 + ecog) / YEAR * 336, rtol=1e-12, atol=1e-9)
    assert world.model.baseline("y") == "age"
    difference = world.model.mean_difference("y", "w48", cohort, 0, 1)
    torch.testing.assert_close(difference, -(3 + ecog) / YEAR * 168, rtol=1e-12, atol=1e-12)
    with pytest.raises(ProtocolError, match=r'truth\.outcomes\.y\.baseline: "agee" is not a covariate; did you mean "age"'):
        twins(outcome(baseline="agee"))


@pytest.mark.parametrize("r", [0.0, 0.6, -1.0])
def test_the_prognosis_knows_the_slope_as_well_as_declared(twins: Any, r: float) -> None:
    """Correlation of the predicted with the actual deviation; sd of a sample correlation about (1 - r^2) / sqrt(n)."""
    world = twins(outcome(residual=None, prognosis_correlation=r), visits=VISITS)
    where = {"streams": world.streams, "block": WIDE, "n": N}
    predicted = world.model.prognosis("y", "w48", None, **where).expand(400, N).numpy().ravel()
    actual = world.values("w48", 0, block=WIDE).numpy().ravel()
    if r == 0.0:
        assert np.ptp(predicted) == 0.0
    else:
        found = float(np.corrcoef(predicted, actual)[0, 1])
        assert abs(found - r) < max(4 * (1 - r * r) / math.sqrt(len(actual)), 1e-9)
    assert abs(actual.std() - 2 * 336 / YEAR) < 4 * 2 * 336 / YEAR / math.sqrt(2 * len(actual))
    assert world.model.prognosis("y", "w48", None).numel() == 1
