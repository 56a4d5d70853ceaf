"""Fitted values at a visit against least squares."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
import torch

from trialsim.cohort.fitted import FittedCohort
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.outcomes.values import fit_value
from trialsim.data import PatientTable
from trialsim.records import Cohort


def test_it_is_least_squares_with_missing_rows_masked():
    rng = np.random.default_rng(1)
    n = 3000
    x, arm = rng.normal(size=n), rng.integers(0, 3, n)
    y = 350 + 60 * x + np.array([30.0, 0.0, -15.0])[arm] + rng.normal(0, 80, n)
    seen = rng.random(n) < 0.8
    with isolated(1):
        fitted = fit_value(
            np.where(seen, y, np.nan),
            baseline="x",
            arms=("high", "placebo", "low"),
            reference=1,
            arm=arm,
            terms=(Term("x", "linear", (), 0.0, 1.0),),
            design=torch.from_numpy(x)[:, None],
        )
    design = np.column_stack((np.ones(n), arm == 0, arm == 2, x))[seen]
    witness = sm.OLS(y[seen], design).fit()
    ours = [fitted.intercept, fitted.arm_difference["high"], fitted.arm_difference["low"], fitted.weights[0]]
    # the priors (SDs of ½ to 2 SDs of y) pull an estimate b by about b (SE / prior SD)², 0.1 % of b here
    np.testing.assert_allclose(ours, witness.params, atol=0.03 * witness.bse.max())
    np.testing.assert_allclose([fitted.difference_sd["high"], fitted.difference_sd["low"]], witness.bse[1:3], rtol=0.005)
    assert fitted.sd == pytest.approx(np.sqrt(witness.ssr / seen.sum()), rel=1e-3)
    cohort = Cohort({"x": torch.tensor([[0.0, 1.0]], dtype=torch.float64)})
    np.testing.assert_allclose(fitted.mean(cohort)[0].numpy(), [fitted.intercept, fitted.intercept + fitted.weights[0]])
    assert fitted.reference == "placebo"
    assert fitted.arm_difference["placebo"] == 0


def test_the_cd4_of_actg175(actg_cohort: FittedCohort, actg_patients: Cohort, actg_table: PatientTable):
    """Adjusted for baseline CD4 alone the difference is +49.4 (SE 5.78)."""
    value = actg_cohort.values["cd4", "w20"]
    assert value.baseline == "cd40"
    assert value.arm_difference["combination"] == pytest.approx(49.4, abs=2)
    assert 5.2 < value.difference_sd["combination"] < 6.0
    y, treated = actg_table.numbers("cd420"), actg_table.numbers("treat")
    residual = y - value.mean(actg_patients)[0].numpy() - value.arm_difference["combination"] * treated
    assert abs(residual.mean()) < 0.1
    assert residual.std() == pytest.approx(value.sd, rel=1e-3)
    alone = sm.OLS(y, sm.add_constant(np.column_stack((treated, actg_table.numbers("cd40"))))).fit()
    assert residual.std() < np.sqrt(alone.mse_resid)  # the other covariates and the bends add something
