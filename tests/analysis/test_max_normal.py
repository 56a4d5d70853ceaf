"""The maximum of correlated normals against SciPy: quadrature over exact bivariate probabilities, and the general integrator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from trialsim.analysis.max_normal import tail_of_absolute_maximum, tail_of_maximum


def fleming_harrington_correlation(*pairs: tuple[float, float]) -> np.ndarray:
    survival = np.linspace(1.0, 0.3, 200)
    weights = np.array([survival**rho * (1.0 - survival) ** gamma for rho, gamma in pairs])
    covariance = weights @ weights.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


DEFAULT = fleming_harrington_correlation((0, 0), (0, 1), (1, 1), (1, 0))  # singular: the first is a combination of the second and the last
OTHERS = fleming_harrington_correlation((0, 0), (0, 0.5), (0.5, 0.5), (0.5, 0))
THREE = fleming_harrington_correlation((0, 0), (0, 1), (1, 1))
TWO = np.array([[1.0, 0.85], [0.85, 1.0]])
Z = [-2.0, -0.4, 0.0, 0.3, 1.0, 2.0, 3.0, 4.5]


def _both(z: list[float], correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at, r = torch.tensor(z, dtype=torch.float64), torch.tensor(correlation)[..., None].expand(*correlation.shape, len(z))
    return tail_of_maximum(at, r)[0].numpy(), tail_of_absolute_maximum(at.abs(), r).numpy()


def _rectangle(low: np.ndarray, high: np.ndarray, covariance: np.ndarray) -> float:
    """P(low <= Z <= high): Gauss's rule over one after the other, down to SciPy's exact distribution of two."""
    if len(low) == 1:
        s = math.sqrt(covariance[0, 0])
        return stats.norm.cdf(high[0] / s) - stats.norm.cdf(low[0] / s)
    if len(low) == 2:
        return stats.multivariate_normal.cdf(high, np.zeros(2), covariance, lower_limit=low)
    s = math.sqrt(covariance[0, 0])
    slope = covariance[0, 1:] / s
    rest = covariance[1:, 1:] - np.outer(slope, slope)

    start, end = max(low[0] / s, -8.5), high[0] / s
    nodes, weights = np.polynomial.legendre.leggauss(32)
    total = 0.0
    for first, last in ((start, end - 1.0), (end - 1.0, end - 0.2), (end - 0.2, end)):
        half = 0.5 * (last - first)
        for x, w in zip(first + half * (1.0 + nodes), half * weights, strict=True):
            total += w * stats.norm.pdf(x) * _rectangle(low[1:] - slope * x, high[1:] - slope * x, rest)
    return total


def _inside(low: float, high: float, correlation: np.ndarray) -> float:
    return _rectangle(np.full(len(correlation), low), np.full(len(correlation), high), correlation)


@pytest.mark.parametrize("correlation", [TWO, THREE], ids=["two", "three"])
def test_two_and_three_are_those_of_quadrature(correlation):
    one, two = _both(Z, correlation)
    for z, upper, either in zip(Z, one, two, strict=True):
        assert upper == pytest.approx(1.0 - _inside(-9.0, z, correlation), rel=1e-6, abs=1e-9)
        if z > 0:
            assert either == pytest.approx(1.0 - _inside(-z, z, correlation), rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("correlation", [DEFAULT, OTHERS], ids=["default", "others"])
def test_four_are_those_of_scipy(correlation):
    """SciPy's integrator is a randomised lattice: its error here is of the order of 5e-5."""
    one, two = _both(Z, correlation)
    for z, upper, either in zip(Z, one, two, strict=True):
        if z == 0:
            continue
        options = {"allow_singular": True, "maxpts": 200_000, "abseps": 1e-9, "releps": 1e-9}
        assert upper == pytest.approx(1.0 - stats.multivariate_normal.cdf(np.full(4, z), np.zeros(4), correlation, **options), abs=2e-4)
        if z > 0:
            inside = stats.multivariate_normal.cdf(np.full(4, z), np.zeros(4), correlation, lower_limit=np.full(4, -z), **options)
            assert either == pytest.approx(1.0 - inside, abs=2e-4)


def test_four_are_those_of_quadrature():
    z = 2.0
    one, two = _both([z], OTHERS)
    assert one[0] == pytest.approx(1.0 - _inside(-9.0, z, OTHERS), rel=1e-6)
    assert two[0] == pytest.approx(2.0 * one[0], rel=1e-3)  # both tails at once are rare


def test_a_singular_matrix_is_integrated_over_its_own_dimensions():
    """The default weights have rank 3, Z = A y: y3 exactly, y1 and y2 by the trapezoidal rule on a fine grid."""
    value, vector = np.linalg.eigh(DEFAULT)
    a = vector[:, 1:] * np.sqrt(np.maximum(value[1:], 0.0))
    assert abs(value[0]) < 1e-12
    step = 0.01
    y = np.arange(-8.0, 8.0, step)
    density = stats.norm.pdf(y) * step
    z = 1.5
    one, two = _both([z], DEFAULT)
    above = np.full((len(y), len(y)), np.inf)
    below_one, below_two = -above, -above
    for row in a:
        # -z <= row.y <= z limits y3 from both sides; the sign of its coefficient says which limit is which.
        centre = row[0] * y[:, None] + row[1] * y[None]
        high, low = (z - centre) / row[2], (-z - centre) / row[2]
        if row[2] > 0:
            above, below_two = np.minimum(above, high), np.maximum(below_two, low)
        else:
            below_one, below_two = np.maximum(below_one, high), np.maximum(below_two, high)
    upper_two = np.minimum.reduce(
        [np.maximum((z - row[0] * y[:, None] - row[1] * y[None]) / row[2], (-z - row[0] * y[:, None] - row[1] * y[None]) / row[2]) for row in a]
    )
    inside = {
        "one": np.maximum(stats.norm.cdf(above) - stats.norm.cdf(below_one), 0.0),
        "two": np.maximum(stats.norm.cdf(upper_two) - stats.norm.cdf(below_two), 0.0),
    }
    for found, key in ((one, "one"), (two, "two")):
        assert found[0] == pytest.approx(1.0 - density @ inside[key] @ density, abs=1e-6)


def test_equal_normals_count_once_and_independent_ones_multiply():
    z = [-1.0, 0.5, 2.0]
    tail = stats.norm.sf(z)
    one, two = _both(z, np.ones((3, 3)))
    np.testing.assert_allclose(one, tail, rtol=3e-6)
    np.testing.assert_allclose(two, 2 * stats.norm.sf(np.abs(z)), rtol=3e-6)
    for k in (1, 2, 4, 5):
        one, two = _both(z, np.eye(k))
        np.testing.assert_allclose(one, 1 - stats.norm.cdf(z) ** k, rtol=2e-6)
        np.testing.assert_allclose(two, 1 - (1 - 2 * stats.norm.sf(np.abs(z))) ** k, rtol=2e-6)


def test_both_tails_come_with_their_own_accuracy():
    z = torch.tensor([-3.0, 3.0], dtype=torch.float64)
    above, below = tail_of_maximum(z, torch.tensor(TWO)[..., None].expand(2, 2, 2))
    assert torch.equal(above + below, torch.ones(2, dtype=torch.float64))
    assert below[0].item() == pytest.approx(stats.multivariate_normal(np.zeros(2), TWO).cdf([-3.0, -3.0]), rel=1e-6)


def test_numbers_do_not_depend_on_the_block():
    generator = torch.Generator().manual_seed(3)
    w = torch.rand((4, 5, 22), generator=generator, dtype=torch.float64)
    covariance = (w[:, None] * w[None]).sum(2)
    scale = torch.stack([covariance[k, k].rsqrt() for k in range(4)])
    r, z = covariance * scale[:, None] * scale[None], torch.randn(22, generator=generator, dtype=torch.float64)
    whole, whole_absolute = tail_of_maximum(z, r)[0], tail_of_absolute_maximum(z.abs(), r)
    for size in (1, 7):
        for first in range(0, 22, size):
            rows = slice(first, first + size)
            assert torch.equal(tail_of_maximum(z[rows], r[..., rows])[0], whole[rows])
            assert torch.equal(tail_of_absolute_maximum(z[rows].abs(), r[..., rows]), whole_absolute[rows])
