"""Fitted event times against a Poisson regression, a Cox regression, and the truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

from trialsim.cohort.fitted import FittedCohort, FittedEvent
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.outcomes.events import fit_event
from trialsim.data import PatientTable
from trialsim.records import Cohort


def _trial(n: int, seed: int):
    """Exponential times of mean 500 days at x = 0, log HR 0.5 per x, −0.7 in arm 0 against arm 1; 30 % censored or so."""
    rng = np.random.default_rng(seed)
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    time = rng.exponential(500 * np.exp(-0.5 * x + 0.7 * (arm == 0)))
    censoring = rng.uniform(200, 1500, n)
    return x, arm, np.minimum(time, censoring), (time <= censoring).astype(float)


def _fit(x, arm, time, event):
    with isolated(1):
        return fit_event(
            time, event, arms=("new", "old"), reference=1, arm=arm, terms=(Term("x", "linear", (), 0.0, 1.0),), design=torch.from_numpy(x)[:, None]
        )


def test_it_is_the_poisson_regression_of_split_follow_up():
    """With 4,000 patients the priors (SD ½ to 2) move the mode by less than 2 % of an SE."""
    x, arm, time, event = _trial(4000, 1)
    fitted = _fit(x, arm, time, event)
    edges = np.array([0.0, *fitted.breaks, np.inf])
    exposure = np.clip(time[:, None] - edges[:-1], 0, np.diff(edges))
    piece = np.searchsorted(fitted.breaks, time)
    rows, columns = np.nonzero(exposure > 0)
    count = (event[rows] == 1) & (piece[rows] == columns)
    design = np.column_stack((np.eye(len(edges) - 1)[columns], (arm[rows] == 0).astype(float), x[rows]))
    witness = sm.GLM(count.astype(float), design, family=sm.families.Poisson(), offset=np.log(exposure[rows, columns])).fit()
    ours = np.array([*np.log(fitted.hazards), fitted.arm_log_hr["new"], fitted.weights[0]])
    np.testing.assert_allclose(ours, witness.params, atol=0.02 * witness.bse.max())
    np.testing.assert_allclose(fitted.posterior.covariance.diagonal().sqrt().numpy(), witness.bse, rtol=0.01)
    assert abs(fitted.arm_log_hr["new"] + 0.7) < 4 * fitted.log_hr_sd["new"]
    assert fitted.arm_log_hr["old"] == 0
    assert fitted.reference == "old"


def test_rows_with_a_missing_outcome_are_masked():
    x, arm, time, event = _trial(1000, 2)
    whole = _fit(x[:800], arm[:800], time[:800], event[:800])
    time[800:900], event[900:] = np.nan, np.nan
    masked = _fit(x, arm, time, event)
    assert masked.arm_log_hr == whole.arm_log_hr
    assert masked.hazards == whole.hazards


def test_breaks_are_on_a_grid_and_not_at_patients_times():
    x, arm, time, event = _trial(1000, 3)
    assert all(b == round(b) for b in _fit(x, arm, time, event).breaks)
    assert not np.isin(_fit(x, arm, time, event).breaks, time).any()


def test_the_log_hazard_ratio_of_actg175_keeps_its_uncertainty(actg_cohort: FittedCohort):
    """Conditional on the covariates, Cox gives log HR −0.674 (SE 0.093). A mean-field guide would have an SD of 0.053."""
    event = actg_cohort.events["event"]
    assert event.reference == "zdv"
    assert event.arm_log_hr["combination"] == pytest.approx(math.log(0.506), abs=0.03)
    assert 0.08 <= event.log_hr_sd["combination"] <= 0.10
    precision = torch.linalg.inv(event.posterior.covariance)
    place = len(event.hazards)
    mean_field = precision[place, place] ** -0.5  # the optimum of a mean-field normal guide (Bishop 2006, eq. 10.12)
    assert mean_field < 0.06


def test_the_linear_predictor_ranks_patients_as_a_cox_model_does(actg_cohort: FittedCohort, actg_patients: Cohort, actg_table: PatientTable):
    from lifelines import CoxPHFitter
    from lifelines.utils import concordance_index

    event = actg_cohort.events["event"]
    time, seen = actg_table.numbers("days"), actg_table.numbers("cens")
    frame = pd.DataFrame({name: actg_patients.columns[name][0].numpy() for name in event_columns(event)})
    frame["treat"] = actg_table.numbers("treat")
    cox = CoxPHFitter().fit(frame.assign(days=time, cens=seen), "days", "cens")
    score = event.linear_predictor(actg_patients)[0].numpy() + event.arm_log_hr["combination"] * frame["treat"].to_numpy()
    assert concordance_index(time, -score, seen) > cox.concordance_index_ - 0.005
    # the score is calibrated: its own Cox coefficient is 1
    slope = CoxPHFitter().fit(pd.DataFrame({"score": score, "days": time, "cens": seen}), "days", "cens")
    assert abs(slope.params_["score"] - 1) < 2 * slope.standard_errors_["score"]


def event_columns(event: FittedEvent) -> list[str]:
    return list(dict.fromkeys(term.column for term in event.terms if term.column not in ("str2", "strat")))


def _arms_that_differ(n: int, *, modified: float, late: float):
    """log HR −0.7 + modified · x in the new arm until day 200, `late` more after it; hazard 1/500 at x = 0 in the old arm."""
    rng = np.random.default_rng(11)
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    new = arm == 0
    early = np.exp(0.3 * x + new * (-0.7 + modified * x)) / 500
    after = early * np.exp(new * late)
    h = rng.exponential(size=n)
    time = np.where(h < early * 200, h / early, 200 + (h - early * 200) / after)
    return x, arm, np.minimum(time, 1000.0), (time <= 1000).astype(float)


def test_effects_vary_where_the_data_ask_for_it():
    """With 6,000 patients the SE of the modifier is near 0.035, of a step 0.12."""
    x, arm, time, event = _arms_that_differ(6000, modified=0.4, late=0.8)
    fitted = _fit(x, arm, time, event)
    varied = fitted.varied
    assert varied.modifier_scale > 0
    assert varied.step_scale > 0
    assert abs(varied.modifiers["new"][0] - 0.4) < 0.12
    log_hr = np.log(np.array(varied.hazards["new"]) / varied.hazards["old"])
    middle = np.array([0.0, *fitted.breaks]) + np.diff([0.0, *fitted.breaks, 1000.0]) / 2
    np.testing.assert_allclose(log_hr[middle < 190], -0.7, atol=0.36)
    np.testing.assert_allclose(log_hr[middle > 230], 0.1, atol=0.36)


def test_effects_are_alike_where_nothing_asks_for_more():
    x, arm, time, event = _trial(3000, 5)
    fitted = _fit(x, arm, time, event)
    log_hr = np.log(np.array(fitted.varied.hazards["new"]) / fitted.varied.hazards["old"])
    np.testing.assert_allclose(log_hr, fitted.arm_log_hr["new"], atol=0.15)
    assert all(abs(weight) < 0.08 for row in fitted.varied.modifiers.values() for weight in row)


def test_the_one_log_hazard_ratio_does_not_hang_on_how_effects_vary():
    x, arm, time, event = _arms_that_differ(2000, modified=0.4, late=0.8)
    with isolated(1):
        alike = fit_event(
            time,
            event,
            arms=("new", "old"),
            reference=1,
            arm=arm,
            terms=(Term("x", "linear", (), 0.0, 1.0),),
            design=torch.from_numpy(x)[:, None],
            modifier_scales=(0.0,),
            step_scales=(0.0,),
        )
    fitted = _fit(x, arm, time, event)
    assert fitted.arm_log_hr == alike.arm_log_hr
    assert fitted.log_hr_sd == alike.log_hr_sd
    assert alike.varied.modifiers == {}
    np.testing.assert_allclose(np.array(alike.varied.hazards["new"]), np.array(alike.hazards) * np.exp(alike.arm_log_hr["new"]), rtol=1e-3)
