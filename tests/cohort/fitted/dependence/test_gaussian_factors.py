"""The copula: its likelihood against SciPy, and known correlations found again in mixed data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.cohort.fitted.dependence.gaussian_factors import fit_copula
from trialsim.cohort.fitted.dependence.pairs import PairStatistics, orthant
from trialsim.cohort.fitted.inference import isolated
from trialsim.cohort.fitted.margins import Scores, fit_smooth, fit_stepped


@pytest.mark.parametrize("rho, tolerance", [(0.0, 1e-12), (0.3, 1e-8), (-0.8, 1e-7), (0.95, 1e-5)])
def test_the_orthant_is_scipys(rho, tolerance):
    points = [(-1.0, 0.3), (0.0, 0.0), (1.2, -0.4), (2.0, 2.5), (-9.0, 1.0), (9.0, 0.7)]
    h, k = (torch.tensor(column, dtype=torch.float64) for column in zip(*points, strict=True))
    witness = [stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf(np.array(point)) for point in points]
    np.testing.assert_allclose(orthant(h, k, torch.full_like(h, rho)).numpy(), witness, atol=max(tolerance, 1e-8))


def _exact(z: np.ndarray) -> Scores:
    return Scores(exact=z, interval=np.full(len(z), -1), ends=np.empty((0, 2)))


def _correlated(r: np.ndarray, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(len(r)), r, n).T


def test_two_numbers_have_the_likelihood_of_a_bivariate_normal():
    z = _correlated(np.array([[1, 0.4], [0.4, 1]]), 200, 1)
    pairs = PairStatistics([_exact(z[0]), _exact(z[1])])
    rhos = (-0.5, 0.1, 0.4)
    ours = [pairs.log_likelihood(torch.tensor([rho], dtype=torch.float64)).item() for rho in rhos]
    theirs = [stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).logpdf(z.T).sum() for rho in rhos]
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), rtol=1e-10)


def test_a_two_by_two_table_gives_the_tetrachoric_correlation():
    """Halves at the median: P(both) = 1/4 + asin(r) / 2π (Sheppard 1899), so r = sin(2π (P − 1/4))."""
    table = {(0, 0): 340, (0, 1): 160, (1, 0): 160, (1, 1): 340}
    a = np.concatenate([np.full(count, float(cell[0])) for cell, count in table.items()])
    b = np.concatenate([np.full(count, float(cell[1])) for cell, count in table.items()])
    columns = [fit_stepped(column, np.array([0.0, 1.0]))[1] for column in (a, b)]
    assert PairStatistics(columns).separately().item() == pytest.approx(math.sin(2 * math.pi * (0.34 - 0.25)), abs=1e-5)


R = np.array(
    [
        [1.0, 0.6, -0.3, 0.4, 0.0],
        [0.6, 1.0, -0.2, 0.5, 0.3],
        [-0.3, -0.2, 1.0, -0.4, 0.2],
        [0.4, 0.5, -0.4, 1.0, 0.1],
        [0.0, 0.3, 0.2, 0.1, 1.0],
    ]
)


def _mixed(n: int, seed: int, missing: float = 0.0) -> list[Scores]:
    """Two numbers, a binary column, one of four levels, one number with an atom at its floor (in two parts)."""
    z = _correlated(R, n, seed)
    columns = [np.exp(z[0]), z[1] ** 3, (z[2] > 0.8).astype(float), np.searchsorted([-1, 0, 1.2], z[3]).astype(float), 10 * z[4]]
    rng = np.random.default_rng(seed + 1)
    for column in columns:
        column[rng.random(n) < missing] = np.nan
    out = [fit_smooth(column)[1] for column in columns[:2]]
    out += [fit_stepped(columns[2], np.arange(2.0))[1], fit_stepped(columns[3], np.arange(4.0))[1], fit_smooth(columns[4])[1]]
    return out


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_known_correlations_are_found_again_with_and_without_missing_cells(missing):
    n = 6000
    with isolated(1):
        copula = fit_copula(_mixed(n, 3, missing))
    # polychoric correlations have up to 2.5 times the standard error of a Pearson correlation at these cut-offs
    assert (copula.correlation().numpy() - R).__abs__().max() < 4 * 2.5 / math.sqrt(n * (1 - missing) ** 2)
    np.testing.assert_allclose(copula.correlation().diagonal().numpy(), 1.0, rtol=1e-12)


def test_a_linked_pair_is_held_uncorrelated():
    columns = _mixed(3000, 5)
    with isolated(1):
        copula = fit_copula(columns, linked={(2, 3)})
    assert abs(copula.correlation()[2, 3]) < 0.06


def test_a_fit_leaves_no_trace():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    with isolated(1):
        fit_copula(_mixed(500, 7))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.get_num_threads() == before[2]


def test_one_column_needs_no_copula():
    copula = fit_copula([_exact(np.zeros(5))])
    assert copula.correlation().tolist() == [[1.0]]
