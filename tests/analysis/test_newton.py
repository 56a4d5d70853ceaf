"""Newton's maximisation on likelihoods whose maximum is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tests.analysis.competing import simulated
from trialsim.analysis.methods.fine_gray import FineGray
from trialsim.analysis.newton import maximise


@dataclasses.dataclass(frozen=True)
class Poisson:
    """Two rates: log L = Σ_j (k_j b_j - n_j e^b_j)."""

    events: torch.Tensor
    exposure: torch.Tensor

    def at(self, b):
        mean = self.exposure * torch.exp(b)
        information = torch.zeros((2, 2, b.shape[1]), dtype=b.dtype)
        information[0, 0], information[1, 1] = mean
        return (self.events * b - mean).sum(0), self.events - mean, information

    def rows(self, which):
        return Poisson(self.events[:, which], self.exposure[:, which])


def test_every_replicate_stops_at_its_own_maximum():
    events = torch.tensor([[1.0, 300.0, 4.0], [2.0, 5.0, 1e6]], dtype=torch.float64)
    exposure = torch.tensor([[1.0, 1.0, 7.0], [50.0, 1.0, 1.0]], dtype=torch.float64)
    found = maximise(Poisson(events, exposure), torch.zeros((2, 3), dtype=torch.float64))
    assert found.converged.all()
    torch.testing.assert_close(found.coefficients, torch.log(events / exposure), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.factor.inverse, 1.0 / events, rtol=1e-8, atol=0)
    for r in range(3):
        alone = maximise(Poisson(events[:, r : r + 1], exposure[:, r : r + 1]), torch.zeros((2, 1), dtype=torch.float64))
        assert torch.equal(alone.coefficients[:, 0], found.coefficients[:, r])


def test_where_the_arm_runs_away_there_is_no_maximum():
    events = torch.tensor([[3.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    found = maximise(Poisson(events, torch.ones((2, 2), dtype=torch.float64)), torch.zeros((2, 2), dtype=torch.float64))
    assert found.converged.tolist() == [False, True]
    assert found.coefficients[1, 1].item() == pytest.approx(math.log(3.0), abs=1e-6)


def test_a_covariate_that_runs_away_leaves_the_arm_its_limit(method_of):
    """Patients of a level without events: their coefficient goes to minus infinity, the arm's to what it is without them."""
    data = simulated(4, n=120, seed=3)
    level = torch.arange(120) % 6 == 0
    data = dataclasses.replace(data, event=data.event & ~level, competing=None)
    adjusted = method_of(FineGray).estimate(dataclasses.replace(data, covariates=level.double().expand(4, 120)[..., None].clone()), favours=-1)
    without = method_of(FineGray).estimate(dataclasses.replace(data, time=data.time.masked_fill(level, -1.0)), favours=-1)
    assert (adjusted.failure == 0).all()
    torch.testing.assert_close(adjusted.estimate, without.estimate, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(adjusted.std_error, without.std_error, rtol=1e-4, atol=0)
