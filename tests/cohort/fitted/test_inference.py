"""The Laplace approximation against closed forms."""

from __future__ import annotations

import numpy as np
import torch

from trialsim.cohort.fitted.inference import fit_laplace, fit_mode, isolated


def _linear_model():
    import pyro
    import pyro.distributions as dist

    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(80, 3)))
    y = torch.from_numpy(rng.normal(size=80)) + x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def model() -> None:
        a = pyro.sample("a", dist.Normal(torch.zeros(2, dtype=torch.float64), 2.0).to_event(1))
        b = pyro.sample("b", dist.Normal(torch.zeros(1, dtype=torch.float64), 2.0).to_event(1))
        pyro.factor("y", -0.5 * ((y - x @ torch.cat((a, b))) ** 2).sum())

    precision = x.T @ x + torch.eye(3, dtype=torch.float64) / 4
    return model, torch.linalg.solve(precision, x.T @ y), torch.linalg.inv(precision)


def test_a_normal_posterior_is_found_exactly():
    model, mean, covariance = _linear_model()
    start = {"a": torch.zeros(2, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}
    with isolated(3):
        posterior = fit_laplace(model, start)
        mode = fit_mode(model, start)
    torch.testing.assert_close(torch.cat(tuple(posterior.mode.values())), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(tuple(mode.values())), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.covariance, covariance, rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(posterior.sd("b"), covariance.diagonal()[2:].sqrt(), rtol=1e-5, atol=1e-5)
