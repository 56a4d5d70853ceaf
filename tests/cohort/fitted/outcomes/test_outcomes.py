"""Outcomes together: a trial whose truth is known, and what is drawn from its model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from lifelines import CoxPHFitter, KaplanMeierFitter
from pandas import DataFrame
from scipy import stats
from scipy.special import ndtr, ndtri

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.outcomes import FittedOutcomes, fit_outcomes
from trialsim.cohort.fitted.outcomes.fitting import between, factors_of, missing_at_random, time_scores
from trialsim.errors import DataError
from trialsim.records import Cohort
from trialsim.rng import Block, Streams

N = 4000
X = (Term("x", "linear", (), 0.0, 1.0),)
RHO = -0.6  # between the scores of the value and of the event: a low value goes with an early event


def _trial(n: int = N) -> dict[str, Any]:
    """Death at 1/600 per day, log HR −0.6; y = 100 + 10 x + 5 in the new arm, SD 12; censoring from day 400 to 900; y missing where a
    score below −0.5 that goes with the event (0.4) says so, and where follow-up was censored before day 450."""
    rng = np.random.default_rng(1)
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    matrix = np.array([[1, RHO, 0.4], [RHO, 1, 0.4 * RHO], [0.4, 0.4 * RHO, 1]])  # the value and its absence: through the event alone
    z_event, z_value, z_gone = (np.linalg.cholesky(matrix) @ rng.normal(size=(3, n))).copy()
    death = -np.log(ndtr(z_event)) * 600 * np.exp(-0.5 * x + 0.6 * (arm == 0))
    end = rng.uniform(400, 900, n)
    y = 100 + 10 * x + 5 * (arm == 0) + 12 * z_value
    time, event = np.minimum(death, end), (death <= end).astype(float)
    y[(z_gone < -0.5) | ((event == 0) & (time < 450))] = np.nan
    return {"x": x, "arm": arm, "time": time, "event": event, "y": y}


def _fit(trial: dict[str, Any], **changes: Any) -> FittedOutcomes:
    given = {
        "events": {"death": (trial["time"], trial["event"])},
        "values": {("y", "w60"): trial["y"]},
        "baselines": {},
        "arms": ("new", "old"),
        "reference": 1,
        "arm": trial["arm"],
        "terms": X,
        "design": torch.from_numpy(trial["x"])[:, None],
    }
    with isolated(1):
        return fit_outcomes(**{**given, **changes})


@pytest.fixture(scope="module")
def trial() -> dict[str, Any]:
    return _trial()


@pytest.fixture(scope="module")
def fitted(trial) -> FittedOutcomes:
    return _fit(trial)


def _draw(fitted: FittedOutcomes, trial: dict[str, Any], replicates: int, first: int = 0) -> dict[tuple[str, str], torch.Tensor]:
    x, arm = (torch.from_numpy(trial[name])[None].expand(replicates, -1) for name in ("x", "arm"))
    return fitted.synthesise(Cohort({"x": x}), arm, Streams(5), Block(first, replicates))


def test_the_copula_has_the_true_correlations(fitted):
    """SEs of a polyserial correlation with 4,000 patients, half of them censored: below 0.03."""
    place = {column: index for index, column in enumerate(fitted.scored)}
    correlation = fitted.residuals.correlation().numpy()
    event, value, gone = place["event", "death", ""], place["value", "y", "w60"], place["missing", "y", "w60"]
    assert abs(correlation[event, value] - RHO) < 0.09
    assert abs(correlation[event, gone] - 0.4) < 0.09
    assert abs(correlation[event, place["censoring", "death", ""]]) < 0.01  # held
    assert abs(correlation[value, gone] - 0.4 * RHO) < 0.06  # missing at random


def test_what_is_drawn_looks_like_the_trial(fitted, trial):
    """Twenty synthetic trials against the one they were fitted to; tolerances of 3 standard errors of the one."""
    drawn = {key: column.numpy() for key, column in _draw(fitted, trial, 20).items()}
    for place in (0, 1):
        of = trial["arm"] == place
        n = of.sum()
        curves = []
        for time, event in ((trial["time"][of], trial["event"][of]), (drawn["death", "time"][:, of].ravel(), drawn["death", "event"][:, of].ravel())):
            curves.append([KaplanMeierFitter().fit(time, flag).survival_function_at_times([100, 300, 500, 700, 850]).to_numpy() for flag in (event, 1 - event)])
        np.testing.assert_allclose(curves[0], curves[1], atol=3 * 0.5 / np.sqrt(n))
        y, synthetic = trial["y"][of], drawn["y", "w60"][:, of]
        assert abs(np.isnan(y).mean() - np.isnan(synthetic).mean()) < 3 * 0.5 / np.sqrt(n)
        assert abs(np.nanmean(y) - np.nanmean(synthetic)) < 3 * np.nanstd(y) / np.sqrt(n)
        assert stats.ks_2samp(y[~np.isnan(y)], synthetic[0][~np.isnan(synthetic[0])]).pvalue > 0.001


def test_a_low_value_raises_the_later_hazard_as_in_the_trial(fitted, trial):
    """The Cox coefficient of the value given baseline and arm: independent outcomes would have 0.

    Values are missing more often after an early event, and correlations are those among the values that are seen, so the
    model's is a tenth too weak here; the tolerance adds that to 3 standard errors.
    """
    found = []
    drawn = _draw(fitted, trial, 10)
    for time, event, y, repeats in (
        (trial["time"], trial["event"], trial["y"], 1),
        (drawn["death", "time"].numpy().ravel(), drawn["death", "event"].numpy().ravel(), drawn["y", "w60"].numpy().ravel(), 10),
    ):
        frame = DataFrame({"t": time, "e": event, "y": y / 12, "x": np.tile(trial["x"], repeats), "a": np.tile(trial["arm"], repeats)}).dropna()
        cox = CoxPHFitter().fit(frame, "t", "e")
        found.append((cox.params_["y"], cox.standard_errors_["y"]))
    assert found[0][0] < -0.4
    assert abs(found[1][0] - found[0][0]) < 3 * found[0][1] + 0.1 * abs(found[0][0])


def test_numbers_are_a_patients_own(fitted, trial):
    """Replicates 2 to 4 of five are the same drawn alone, and so are the first patients of a smaller cohort."""
    whole, part = _draw(fitted, trial, 5), _draw(fitted, trial, 3, first=2)
    few = {name: column[:70] for name, column in trial.items()}
    for key, column in whole.items():
        assert torch.equal(column[2:].nan_to_num(nan=-1.0), part[key].nan_to_num(nan=-1.0))
        assert torch.equal(column[:, :70].nan_to_num(nan=-1.0), _draw(fitted, few, 5)[key].nan_to_num(nan=-1.0))


def test_no_number_of_a_patient_is_drawn(fitted, trial):
    drawn = _draw(fitted, trial, 5)
    assert not np.isin(drawn["death", "time"].numpy(), trial["time"]).any()
    assert not np.isin(drawn["y", "w60"].numpy(), trial["y"]).any()
    for law in (fitted.censoring["death"].times, fitted.events["death"].breaks):
        assert not np.isin(law, trial["time"]).any()


def test_it_can_be_stored(fitted, trial):
    described = json.loads(json.dumps(fitted.options()))
    again = FittedOutcomes.of(fitted.tensors(), described)
    for key, column in _draw(fitted, trial, 2).items():
        assert torch.equal(column.nan_to_num(nan=-1.0), _draw(again, trial, 2)[key].nan_to_num(nan=-1.0))
    assert again.events["death"].log_hr_sd == fitted.events["death"].log_hr_sd


def test_a_fit_like_another_takes_its_scales_and_ends_where_it_did(fitted, trial):
    again = _fit(trial, like=fitted)
    assert again.events["death"].prior_scale == fitted.events["death"].prior_scale
    assert again.values["y", "w60"].varied.modifier_scale == fitted.values["y", "w60"].varied.modifier_scale
    np.testing.assert_allclose(again.residuals.correlation().numpy(), fitted.residuals.correlation().numpy(), atol=2e-3)
    np.testing.assert_allclose(again.events["death"].hazards, fitted.events["death"].hazards, rtol=1e-3)


def test_outcomes_with_missing_cells_one_arm_and_no_censoring():
    trial = _trial(500)
    time = np.where(np.arange(500) % 5 == 0, np.nan, trial["time"])
    fitted = _fit(trial, events={"death": (time, np.ones(500))}, values={}, arms=("all",), reference=0, arm=np.zeros(500, dtype=np.int64))
    assert fitted.censoring == {}
    drawn = _draw(fitted, {**trial, "arm": np.zeros(500, dtype=np.int64)}, 20)
    gone = drawn["death", "time"].isnan()
    assert torch.equal(gone, drawn["death", "event"].isnan())
    assert abs(gone.double().mean() - 0.2) < 4 * np.sqrt(0.16 / 10_000)
    assert (drawn["death", "event"][~gone] == 1).all()


def test_times_that_are_all_zero_are_refused():
    trial = _trial(100)
    with pytest.raises(DataError, match='the outcome "death" has no follow-up: no time is above 0'):
        _fit(trial, events={"death": (np.zeros(100), np.ones(100))})


def test_no_outcomes_at_all():
    trial = _trial(100)
    fitted = _fit(trial, events={}, values={})
    assert _draw(fitted, trial, 2) == {}
    assert FittedOutcomes.of(fitted.tensors(), fitted.options()).scored == ()


def test_a_value_that_is_never_negative_stays_so():
    trial = _trial(1000)
    y = np.abs(trial["x"]) * 20 + np.random.default_rng(3).exponential(15, 1000)
    drawn = _draw(_fit(trial, values={("y", "w60"): y}), trial, 20)["y", "w60"]
    assert (drawn >= 0).all()


def test_a_value_that_the_baseline_determines():
    trial = _trial(300)
    drawn = _draw(_fit(trial, values={("y", "w60"): 3.0 + 2.0 * trial["x"]}), trial, 2)["y", "w60"].numpy()
    np.testing.assert_allclose(drawn, np.tile(3.0 + 2.0 * trial["x"], (2, 1)), atol=0.02)


def test_scores_of_times():
    """Cox–Snell: exact where the event was seen, below it where it was not, within a jump at an atom."""
    hazard = np.array([0.1, 1.0, 2.0, np.nan])
    scores = time_scores(hazard, hazard, np.array([True, False, True, False]), np.array([True, True, True, False]))
    np.testing.assert_allclose(scores.exact, [ndtri(np.exp(-0.1)), np.nan, ndtri(np.exp(-2.0)), np.nan])
    assert scores.interval.tolist() == [-1, 0, -1, -1]
    assert scores.ends[0, 0] == -np.inf
    assert abs(scores.ends[0, 1] - ndtri(np.exp(-1.0))) <= 0.025
    jump = time_scores(np.array([1.0]), np.array([2.0]), np.array([True]), np.array([True]))
    np.testing.assert_allclose(jump.ends, [[ndtri(np.exp(-2.0)), ndtri(np.exp(-1.0))]], atol=0.025)
    assert np.isnan(jump.exact).all()


def test_missing_at_random_is_a_partial_correlation_of_zero():
    matrix = np.array([[1.0, 0.5, 0.0, 0.2], [0.5, 1.0, 0.3, 0.1], [0.0, 0.3, 1.0, -0.4], [0.2, 0.1, -0.4, 1.0]])
    found = missing_at_random(torch.from_numpy(matrix), [(0, 2)]).numpy()
    assert np.linalg.inv(found)[0, 2] == pytest.approx(0.0, abs=1e-12)
    changed = found != matrix
    assert changed.sum() == 2
    np.testing.assert_allclose(factors_of(torch.from_numpy(found)).correlation().numpy(), found, atol=1e-12)


def test_intervals_are_shared():
    ends = np.column_stack((np.full(1000, -np.inf), np.random.default_rng(1).normal(size=1000)))
    scores = between(ends, np.arange(1000) < 900)
    assert len(scores.ends) < 150
    assert (scores.interval[900:] == -1).all()
    assert np.abs(scores.ends[scores.interval[:900], 1] - ends[:900, 1]).max() <= 0.025 + 1e-9
