"""Missing cells against statsmodels' probit, and a day before which nobody can have a value."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
import torch

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.outcomes.missing import FittedMissing, fit_missing

X = (Term("x", "linear", (), 0.0, 1.0),)


def _fit(missing, arm, x, follow_up=None, **options):
    return fit_missing(missing, arms=("new", "old"), reference=1, arm=arm, terms=X, design=torch.from_numpy(x)[:, None], follow_up=follow_up or {}, **options)


def test_it_is_a_probit_regression():
    """With 5,000 patients the priors (SD 1 and 2) move the mode by less than 2 % of an SE."""
    rng = np.random.default_rng(1)
    n = 5000
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    missing = rng.normal(size=n) < -0.7 + 0.4 * (arm == 0) - 0.3 * x
    law, threshold = _fit(missing, arm, x, prior_scales=(1.0,))
    witness = sm.Probit(missing.astype(float), np.column_stack((np.ones(n), arm == 0, x))).fit(disp=0)
    np.testing.assert_allclose([law.intercept, law.arm_shift["new"], law.weights[0]], witness.params, atol=0.02 * witness.bse.max())
    np.testing.assert_allclose(threshold, witness.fittedvalues, atol=0.01)
    assert law.arm_shift["old"] == 0.0
    assert (law.follows, law.before) == (None, 0.0)
    assert FittedMissing.read(law.store()) == law


def test_the_day_of_a_visit_is_found_from_those_who_left_before():
    """Week 96 is day 672: all who were censored before it lack the value, 20 % of the others do."""
    rng = np.random.default_rng(2)
    n = 3000
    time, event = rng.uniform(0, 1200, n), (rng.random(n) < 0.4).astype(float)
    early = (event == 0) & (time < 672)
    missing = early | (rng.random(n) < 0.2)
    law, threshold = _fit(missing, np.zeros(n, dtype=np.int64), rng.normal(size=n), {"death": (time, event)})
    assert law.follows == "death"
    assert abs(law.before - 672) <= 30
    assert np.isnan(threshold[early & (time < law.before)]).all()
    # everybody is in one arm; probit of 20 %, moved a little by those between the two days
    assert law.intercept + law.arm_shift["new"] == pytest.approx(-0.84, abs=0.12)


def test_few_missing_cells_have_no_covariates_and_rules_need_many():
    rng = np.random.default_rng(3)
    missing = np.zeros(400, dtype=bool)
    missing[:8] = True
    time = rng.uniform(10, 100, 400)
    time[:8], event = 5.0, np.zeros(400)
    law, _ = _fit(missing, rng.integers(0, 2, 400), rng.normal(size=400), {"death": (time, event)})
    assert law.terms == ()
    assert law.follows is None
    assert law.intercept == pytest.approx(-2.05, abs=0.1)  # probit of 2 %
