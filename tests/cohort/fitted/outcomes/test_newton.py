"""Newton's method against a closed form and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import multivariate_normal

from trialsim.cohort.fitted.outcomes.newton import best_scale, find_mode


def _normal(n: int = 40):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3))
    y = x @ np.array([1.0, -0.5, 0.0]) + rng.normal(size=n)

    def log_likelihood(b):
        lean = y - x @ b
        return float(-0.5 * lean @ lean - 0.5 * n * np.log(2 * np.pi)), x.T @ lean, x.T @ x

    return x, y, log_likelihood


def test_the_evidence_of_a_normal_model_is_its_marginal_likelihood():
    """With known variance Laplace's approximation is exact: y ~ Normal(0, I + X S X')."""
    x, y, log_likelihood = _normal()
    for sd in ([0.5, 0.5, 0.5], [2.0, 0.1, 0.7], [1.0, 0.0, 1.0]):
        mode = find_mode(log_likelihood, np.zeros(3), centre=np.zeros(3), sd=np.array(sd))
        exact = multivariate_normal(np.zeros(len(y)), np.eye(len(y)) + x @ np.diag(np.square(sd)) @ x.T).logpdf(y)
        assert mode.log_evidence == pytest.approx(exact, abs=1e-8)
        assert (mode.place[np.array(sd) == 0] == 0).all()


def test_the_best_scale_is_the_one_of_largest_marginal_likelihood():
    x, y, log_likelihood = _normal()
    scales = (3.0, 1.0, 0.3, 0.1, 0.0)
    _, place = best_scale(log_likelihood, np.zeros(3), centre=np.zeros(3), sds=[np.full(3, scale) for scale in scales])
    exact = [multivariate_normal(np.zeros(len(y)), np.eye(len(y)) + scale**2 * x @ x.T).logpdf(y) for scale in scales]
    assert place == int(np.argmax(exact))


def test_a_step_that_overshoots_is_halved():
    """Poisson regression from a start where Newton's full step overflows; a wide prior does not move the estimate."""
    rng = np.random.default_rng(2)
    x = np.column_stack((np.ones(200), rng.normal(size=200)))
    y = rng.poisson(np.exp(x @ [3.0, 0.4])).astype(float)

    def log_likelihood(b):
        with np.errstate(over="ignore"):
            mean = np.exp(x @ b)
        return float(y @ x @ b - mean.sum()), x.T @ (y - mean), (x * mean[:, None]).T @ x

    found = find_mode(log_likelihood, np.array([-4.0, 0.0]), centre=np.zeros(2), sd=np.full(2, 1e4))
    np.testing.assert_allclose(found.place, sm.GLM(y, x, family=sm.families.Poisson()).fit().params, rtol=1e-6)
