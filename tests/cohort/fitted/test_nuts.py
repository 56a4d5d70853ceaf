"""Joint draws from a posterior, and NUTS where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trialsim.cohort.fitted import FittedEvent
from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.inference import Posterior, isolated
from trialsim.cohort.fitted.nuts import NutsCheck, draw_effects, log_joint, nuts_check
from trialsim.cohort.fitted.outcomes.events import fit_event
from trialsim.errors import UsageError

ARMS = ("new", "old")


def _trial(n: int = 300) -> tuple[FittedEvent, dict]:
    rng = np.random.default_rng(1)
    x, arm = rng.normal(size=n), rng.integers(0, 2, n)
    time = rng.exponential(500 * np.exp(-0.5 * x + 0.7 * (arm == 0)))
    censoring = rng.uniform(200, 1500, n)
    data = {"time": np.minimum(time, censoring), "event": (time <= censoring).astype(float), "arm": arm, "design": torch.from_numpy(x)[:, None], "arms": ARMS}
    data["time"][:3] = np.nan
    with isolated(1):
        return fit_event(**data, reference=1, terms=(Term("x", "linear", (), 0.0, 1.0),)), data


def test_the_density_has_the_guides_mode_and_curvature():
    """Two ways to write one model: the gradient vanishes at the fitted mode, the Hessian is minus the inverse covariance."""
    fitted, data = _trial()
    density = log_joint(fitted, **data)
    mode = torch.cat([value.reshape(-1) for value in fitted.posterior.mode.values()])
    gradient = torch.autograd.functional.jacobian(density, mode)
    assert float((gradient @ fitted.posterior.covariance @ gradient).sqrt()) < 1e-3  # in posterior SDs
    hessian = torch.autograd.functional.hessian(density, mode)
    np.testing.assert_allclose(torch.linalg.inv(-hessian).numpy(), fitted.posterior.covariance.numpy(), rtol=1e-3, atol=1e-6)


def test_nuts_agrees_with_the_guide_on_a_small_trial_and_again():
    fitted, data = _trial()
    first = nuts_check(fitted, **data, of="new", draws=120, warmup=50)
    assert first.agrees
    assert first.ess > 30
    assert first == nuts_check(fitted, **data, of="new", draws=120, warmup=50)
    with pytest.raises(UsageError, match='"old" has no log HR here; those that have: new'):
        nuts_check(fitted, **data, of="old")


def test_a_guide_that_is_too_narrow_does_not_agree():
    good = NutsCheck(mean=-0.67, sd=0.09, mean_mcse=0.003, sd_mcse=0.002, ess=900.0, r_hat=1.0, n_divergent=0, laplace_mean=-0.67, laplace_sd=0.092)
    fields = {name: getattr(good, name) for name in NutsCheck.__slots__}
    assert good.agrees
    for change in ({"laplace_sd": 0.053}, {"laplace_mean": -0.6}, {"n_divergent": 3}, {"r_hat": 1.2}):
        assert not NutsCheck(**{**fields, **change}).agrees


def test_draws_are_jointly_normal_with_the_posteriors_moments():
    a = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 6)))
    covariance = a @ a.T
    posterior = Posterior(mode={"log_hazard": torch.tensor([1.0, 2.0]).double(), "log_hr": torch.tensor([-0.5, 0.5]).double()}, covariance=covariance)
    n = 40_000
    drawn = draw_effects(posterior, n, seed=3)
    both = torch.cat((drawn["log_hazard"], drawn["log_hr"]), dim=1).numpy()
    sd = covariance.diagonal().sqrt().numpy()
    assert (np.abs(both.mean(0) - [1.0, 2.0, -0.5, 0.5]) < 4 * sd / math.sqrt(n)).all()
    # the standard error of a sample covariance is √((v_ii v_jj + v_ij²) / n)
    mcse = np.sqrt((np.outer(sd**2, sd**2) + covariance.numpy() ** 2) / n)
    assert (np.abs(np.cov(both.T) - covariance.numpy()) < 4 * mcse).all()


def test_a_draw_depends_on_its_number_alone():
    fitted, _ = _trial()
    whole = draw_effects(fitted.posterior, 50, seed=3)
    part = draw_effects(fitted.posterior, 7, seed=3, first=11)
    assert list(whole) == ["log_hazard", "log_hr", "weights"]
    assert whole["log_hazard"].shape == (50, len(fitted.hazards))
    assert all(torch.equal(part[site], whole[site][11:18]) for site in whole)
    assert not torch.equal(whole["log_hr"], draw_effects(fitted.posterior, 50, seed=4)["log_hr"])
