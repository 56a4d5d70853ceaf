"""Parametric closed tests: against Dunnett, against simulation, and rejections against adjusted p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from trialsim.design.multiplicity import Graph, closed_test, dunnett, fallback_graph, holm_graph, rejected_parametrically
from trialsim.design.multiplicity.normal_box import common_factor, probability_below

GENERAL = np.array([[1.0, 0.7, 0.2, 0.4], [0.7, 1.0, 0.1, 0.3], [0.2, 0.1, 1.0, -0.2], [0.4, 0.3, -0.2, 1.0]])


@pytest.mark.parametrize("k", [2, 3, 4])
def test_boxes_against_scipy(k: int) -> None:
    r = GENERAL[:k, :k]
    for z in (np.array([1.9, 2.2, 2.4, 1.5])[:k], np.array([-0.3, 0.4, 0.1, 1.0])[:k]):
        expected = multivariate_normal(np.zeros(k), r, maxpts=400_000, abseps=1e-7, releps=0, seed=1).cdf(z)
        assert probability_below(z, r) == pytest.approx(expected, abs=1e-6)


def test_products_are_found_and_nothing_else() -> None:
    b = np.array([0.6, -0.5, 0.7, 0.2])
    products = np.outer(b, b) + np.diag(1 - b * b)
    factor = common_factor(products)
    assert factor is not None
    np.testing.assert_allclose(np.outer(factor, factor)[0, 1:], products[0, 1:], atol=1e-14)
    assert common_factor(GENERAL) is None


def test_the_weighted_parametric_test_of_several_arms_is_step_down_dunnett() -> None:
    b = np.sqrt(np.array([0.5, 0.4, 0.6]))
    z = np.random.default_rng(2).normal(1.0, 1.0, (20, 3))
    r = np.outer(b, b) + np.diag(1 - b * b)
    found = closed_test(ndtr(-z), holm_graph([1 / 3] * 3), test="parametric", correlation=r)
    np.testing.assert_allclose(found, dunnett.step_down(z, b[None], None), atol=1e-9)


def test_rejections_are_adjusted_p_values_below_alpha() -> None:
    graph = fallback_graph([0.5, 0.2, 0.2, 0.1])
    p = np.random.default_rng(4).beta(0.3, 4.0, (60, 4))
    p[0, 2] = np.nan
    groups = [[0, 1, 3], [2]]
    adjusted = closed_test(p, graph, test="parametric", groups=groups, correlation=GENERAL)
    rejected = rejected_parametrically(p, graph, groups=groups, correlation=GENERAL, alpha=0.025)
    assert (rejected == (adjusted <= 0.025)).all()
    assert 20 < rejected.sum() < 220


def test_the_level_is_kept_and_used_up() -> None:
    rng = np.random.default_rng(8)
    z = rng.standard_normal((20_000, 4)) @ np.linalg.cholesky(GENERAL).T
    graph = Graph((0.4, 0.3, 0.2, 0.1), ((0.0, 1.0, 0.0, 0.0), (0.5, 0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)))
    rate = rejected_parametrically(ndtr(-z), graph, groups=[range(4)], correlation=GENERAL, alpha=0.05).any(-1).mean()
    assert abs(rate - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 20_000)
