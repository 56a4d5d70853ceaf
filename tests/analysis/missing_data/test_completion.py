"""Completed values: regressions against least squares, strategies against the joint normal law, holes against their conditional law."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.witness.joint_normal_imputation import conditional, joint_law, strategy_mean
from trialsim.analysis.missing_data.completion import _complete, _fill_holes, completed, incomplete
from trialsim.analysis.missing_data.strategies import Strategy
from trialsim.analysis.missing_data.visit_regressions import Parameters, coefficients, draw, regress
from trialsim.records import Noise, VisitData
from trialsim.rng import Block, Stream

STRATEGIES: tuple[Strategy, ...] = ("mar", "jump_to_reference", "copy_reference", "copy_increments", "last_mean_carried_forward")
PHI = np.array([[0.0, 0, 0, 0], [0.7, 0, 0, 0], [0.1, 0.6, 0, 0], [0.2, -0.1, 0.5, 0]])
SIGMA = np.array([2.0, 1.5, 1.2, 1.0])
START, ARM, SLOPE = np.array([1.0, 0.5, 0.2, 0.1]), np.array([0.5, 0.3, 0.4, -0.6]), np.array([0.3, -0.2, 0.1, 0.4])


def trial(rng: np.random.Generator, rows: int, n: int, *, dropout: float = 0.15, holes: float = 0.0) -> VisitData:
    """Trials from the model above, with visits missing."""
    x, group = rng.normal(size=(rows, n)), (np.arange(n) % 2)[None].repeat(rows, 0)
    y = np.zeros((rows, n, 4))
    for t in range(4):
        y[..., t] = START[t] + ARM[t] * group + SLOPE[t] * x + (PHI[t] * y).sum(-1) + SIGMA[t] * rng.normal(size=(rows, n))
    gone = (rng.random((rows, n, 4)) < dropout).cumsum(-1) > 0
    gone[..., 0] = False
    gone |= rng.random((rows, n, 4)) < holes
    y[gone] = np.nan
    noise = Noise(Stream(5, "imputation/a"), Block(0, rows))
    return VisitData(value=torch.from_numpy(y), group=torch.from_numpy(group.astype(np.int8)), at=3, covariates=torch.from_numpy(x)[..., None], noise=noise)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261124)


def _columns(data: VisitData, row: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    y = data.value[row].numpy()
    there = ~np.isnan(y[:, : t + 1]).any(-1)
    design = np.column_stack([np.ones(len(y)), data.group[row].numpy(), data.covariates[row, :, 0].numpy(), y[:, :t]])
    return design[there], y[there, t]


def test_regressions_are_least_squares(rng):
    data = trial(rng, 3, 40)
    for t, fit in enumerate(incomplete(data).fits()):
        found = torch.stack(coefficients(fit, fit.scores), -1)
        for row in range(3):
            design, y = _columns(data, row, t)
            expected, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
            np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-9, atol=1e-10)
            assert fit.residual[row].item() == pytest.approx(residual[0], rel=1e-10)
            assert fit.df[row].item() == len(y) - design.shape[1]


def test_a_column_without_rank_costs_nothing(rng):
    y = torch.from_numpy(rng.normal(size=(1, 20)))
    x = torch.from_numpy(rng.normal(size=(1, 20)))
    there = torch.ones((1, 20), dtype=torch.bool)
    once, twice = regress(y, [x], there), regress(y, [x, 2 * x], there)
    assert twice.df.item() == once.df.item() == 19
    assert coefficients(twice, twice.scores)[1].item() == 0
    assert twice.residual.item() == pytest.approx(once.residual.item(), rel=1e-14)


def test_parameters_are_drawn_from_their_posterior(rng):
    """sigma^2 is RSS / chi^2: its mean is RSS / (df - 2); coefficients have covariance RSS / (df - 2) (X'X)^-1. Within 4 MCSE of 200,000 draws."""
    data = trial(rng, 1, 40)
    fit = incomplete(data).fits()[2]
    design, _ = _columns(data, 0, 2)
    m = 200_000
    normal, uniform = torch.from_numpy(rng.normal(size=(1, m, 5))), torch.from_numpy(rng.random((1, m)))
    drawn = draw(fit, normal, uniform)
    scale = fit.residual.item() / (fit.df.item() - 2)
    variance = (drawn.sigma[0] ** 2).numpy()
    assert variance.mean() == pytest.approx(scale, abs=4 * variance.std() / np.sqrt(m))
    found = torch.stack(drawn.coefficients, -1)[0].numpy()
    expected = scale * np.linalg.inv(design.T @ design)
    deviation = found - torch.stack(coefficients(fit, fit.scores), -1).numpy()
    for j in range(5):
        for k in range(j + 1):
            product = deviation[:, j] * deviation[:, k]
            assert product.mean() == pytest.approx(expected[j, k], abs=4 * product.std() / np.sqrt(m))


def _parameters() -> list[Parameters]:
    def one(value: float) -> torch.Tensor:
        return torch.tensor([[value]], dtype=torch.float64)

    return [Parameters([one(START[t]), one(ARM[t]), one(SLOPE[t]), *(one(PHI[t, s]) for s in range(t))], one(SIGMA[t])) for t in range(4)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_imputed_is_the_conditional_mean_of_the_joint_law(rng, strategy):
    data = trial(rng, 1, 60, dropout=0.3)
    data.value[0, :4] = torch.nan  # nobody has seen these: they are imputed from the start
    data = VisitData(**{**_fields(data), "included": torch.ones((1, 60), dtype=torch.bool)})
    state = incomplete(data)
    zero = [torch.zeros((1, 1, 60), dtype=torch.float64)] * 4
    done = torch.stack(_complete(state, [y[:, None] for y in state.value], _parameters(), zero, strategy), -1)[0, 0].numpy()
    for patient in range(60):
        y, x, arm = data.value[0, patient].numpy(), data.covariates[0, patient, 0].item(), data.group[0, patient].item()
        own, covariance = joint_law(START + ARM * arm + SLOPE * x, PHI, SIGMA)
        reference, _ = joint_law(START + SLOPE * x, PHI, SIGMA)
        leaves = int((~np.isnan(y)).sum())
        expected = y.copy()
        expected[np.isnan(y)] = conditional(strategy_mean(strategy, own, reference, leaves), covariance, y)[0]
        np.testing.assert_allclose(done[patient], expected, atol=1e-12)


def _fields(data: VisitData) -> dict:
    return {name: getattr(data, name) for name in data.__dataclass_fields__}


def test_holes_are_drawn_from_their_conditional_law(rng):
    """Gibbs steps with fixed parameters leave holes with the joint law's conditional mean and covariance, within 4 MCSE of 40,000 chains."""
    y = np.array([1.0, np.nan, np.nan, 2.5])
    chains = 40_000
    data = VisitData(
        value=torch.from_numpy(y)[None, None].repeat(1, chains, 1), group=torch.ones((1, chains), dtype=torch.int8), at=3, covariates=torch.zeros(1, chains, 1)
    )
    state = incomplete(data)
    value = list(state.value)
    for _ in range(30):
        _fill_holes(state, value, _flat(), [torch.from_numpy(rng.normal(size=(1, chains))) for _ in range(4)])
    mean, covariance = joint_law(START + ARM, PHI, SIGMA)
    expected, spread = conditional(mean, covariance, y)
    found = np.stack([value[1][0].numpy(), value[2][0].numpy()])
    for j in range(2):
        assert found[j].mean() == pytest.approx(expected[j], abs=4 * np.sqrt(spread[j, j] / chains))
        for k in range(j + 1):
            product = (found[j] - expected[j]) * (found[k] - expected[k])
            assert product.mean() == pytest.approx(spread[j, k], abs=4 * product.std() / np.sqrt(chains))


def _flat() -> list[Parameters]:
    return [Parameters([c[:, 0:1] for c in found.coefficients], found.sigma) for found in _parameters()]


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_a_replicate_is_imputed_alike_in_any_block(rng, holes):
    data = trial(rng, 5, 30, holes=holes)
    everyone = torch.cat([value for _, value in completed(data, "jump_to_reference", 7)], 1)
    assert everyone.shape == (5, 7, 30)
    assert not torch.isnan(everyone).any()
    for row in range(5):
        fields = _fields(data)
        rows = torch.tensor([row])
        alone = VisitData(
            **{
                **fields,
                "value": data.value[rows],
                "group": data.group[rows],
                "covariates": data.covariates[rows],
                "noise": data.noise.of(rows),
            }
        )
        assert torch.equal(torch.cat([value for _, value in completed(alone, "jump_to_reference", 7)], 1)[0], everyone[row])


def test_values_that_were_seen_stay_as_they_are(rng):
    data = trial(rng, 2, 30, holes=0.05)
    seen = ~torch.isnan(data.value[..., 3])
    for _, value in completed(data, "mar", 3):
        for j in range(value.shape[1]):
            assert torch.equal(value[:, j][seen], data.value[..., 3][seen])
