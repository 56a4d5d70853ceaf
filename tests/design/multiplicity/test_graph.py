"""Graphs of hypotheses: what is inherited, and that rejecting one by one is the closed test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trialsim.design.multiplicity import (
    Graph,
    SerialGatekeeping,
    adjustment,
    bonferroni_graph,
    closed_test,
    fallback_graph,
    fixed_sequence_graph,
    holm_graph,
    parallel_gatekeeping_graph,
    sequentially_rejective,
)


def p_values(n: int, m: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.4, 2.0, (n, m))


def redrawn(weights: list[float], edges: list[list[float]], gone: tuple[int, ...]) -> np.ndarray:
    """Algorithm 1 of Bretz et al. 2009, as it stands there."""
    w, g, left = dict(enumerate(weights)), {(i, k): edges[i][k] for i in range(len(weights)) for k in range(len(weights))}, set(range(len(weights)))
    for j in gone:
        left.discard(j)
        w = {i: w[i] + w[j] * g[j, i] for i in left}
        g = {(i, k): (g[i, k] + g[i, j] * g[j, k]) / (1 - g[i, j] * g[j, i]) if i != k and g[i, j] * g[j, i] < 1 else 0.0 for i in left for k in left}
    return np.array([w.get(i, 0.0) for i in range(len(weights))])


def random_graph(m: int, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    edges = rng.dirichlet(np.ones(m), m)
    np.fill_diagonal(edges, 0.0)
    return Graph(tuple(rng.dirichlet(np.ones(m)).tolist()), tuple(map(tuple, edges.tolist())))


@pytest.mark.parametrize("seed", range(3))
def test_shares_do_not_depend_on_the_order_of_rejection(seed: int) -> None:
    graph = random_graph(4, seed)
    for size in (1, 2, 3):
        for gone in itertools.permutations(range(4), size):
            expected = redrawn(list(graph.weights), [list(row) for row in graph.transitions], gone)
            np.testing.assert_allclose(graph.shares(sum(1 << j for j in gone)), expected, atol=1e-12)


@pytest.mark.parametrize(
    "weighting", [random_graph(4, 7), fallback_graph([0.4, 0.3, 0.2, 0.1]), parallel_gatekeeping_graph([0.5, 0.5], 2), SerialGatekeeping(((0, 1), (2, 3)))]
)
def test_one_rejection_after_the_other_is_the_closed_test(weighting: Graph) -> None:
    p = p_values(300, 4)
    np.testing.assert_allclose(sequentially_rejective(p, weighting), closed_test(p, weighting), atol=1e-12)


def test_named_procedures_are_graphs() -> None:
    p = p_values(300, 4)
    equal = [0.25] * 4
    for graph, same in (
        (bonferroni_graph(equal), adjustment.bonferroni),
        (holm_graph(equal), adjustment.holm),
        (fixed_sequence_graph(4), adjustment.fixed_sequence),
    ):
        np.testing.assert_allclose(sequentially_rejective(p, graph), same(p), atol=1e-12)
    np.testing.assert_allclose(closed_test(p, holm_graph(equal), test="simes"), adjustment.hommel(p), atol=1e-12)


def test_serial_gatekeeping_opens_a_family_when_the_one_before_is_rejected() -> None:
    p = np.array([[0.01, 0.02, 0.001, 0.03], [0.001, 0.06, 0.0, 0.0]])
    adjusted = sequentially_rejective(p, SerialGatekeeping(((0, 1), (2, 3))))
    np.testing.assert_allclose(adjusted, [[0.02, 0.02, 0.02, 0.03], [0.002, 0.06, 0.06, 0.06]])


def test_an_analysis_that_failed_stays_nan_and_counts_as_one() -> None:
    p = np.array([[0.01, np.nan, 0.02]])
    for adjust in (adjustment.holm, adjustment.hommel, lambda p: sequentially_rejective(p, holm_graph([1 / 3] * 3))):
        found = adjust(p)
        assert np.isnan(found[0, 1])
        np.testing.assert_allclose(found[0, [0, 2]], [0.03, 0.04])


def test_a_replicate_does_not_depend_on_the_others() -> None:
    p, graph = p_values(40, 4), random_graph(4, 2)
    for adjust in (adjustment.hommel, lambda p: sequentially_rejective(p, graph), lambda p: closed_test(p, graph, test="simes")):
        every = adjust(p)
        assert np.array_equal(every, np.concatenate([adjust(p[start : start + 7]) for start in range(0, 40, 7)]))
        assert np.array_equal(every[3:4], adjust(p[3:4]))


def test_no_graph_rejects_too_often() -> None:
    """All true, independent: FWER at most alpha, within 3 MCSE of 20,000."""
    p = np.random.default_rng(1).uniform(size=(20_000, 4))
    for weighting in (random_graph(4, 3), SerialGatekeeping(((0, 1), (2, 3)))):
        rate = (sequentially_rejective(p, weighting) <= 0.05).any(-1).mean()
        assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 20_000)
