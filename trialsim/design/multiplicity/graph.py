"""Graphs of hypotheses: who holds which share of alpha, and who inherits it.

A hypothesis holds the share w_j of alpha. When it is rejected the share goes to the others along its edges g_jl, and the graph
is drawn anew without it:

    w_l  ←  w_l + w_j g_jl          g_lk  ←  (g_lk + g_lj g_jk) / (1 - g_lj g_jl)

(0 where g_lj g_jl = 1). The shares depend only on which hypotheses are gone, not on their order, and they never fall, so that
rejecting one by one is the closed test whose intersections are weighted Bonferroni tests: the family-wise error rate is at
most alpha whatever the dependence.

Holm, fixed sequence, fallback and parallel gatekeeping are graphs. Serial gatekeeping (a family waits until all of the one
before are rejected) is the limit of graphs whose edges to the next family vanish; its shares are given directly.

**Source:** Bretz, Maurer, Brannath & Posch 2009 (doi 10.1002/sim.3495); Wiens & Dmitrienko 2005 (doi 10.1080/10543400500265660)
for fallback; Dmitrienko, Offen & Westfall 2003 (doi 10.1002/sim.1526) for gatekeeping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trialsim.design.multiplicity.adjustment import Matrix, failures_as_one

Vector = NDArray[np.float64]
"""[hypothesis]"""


class Weighting(Protocol):
    """Shares of alpha by what has been rejected. A set of hypotheses is a whole number whose bit j stands for hypothesis j."""

    @property
    def n(self) -> int:
        """How many hypotheses."""

    def shares(self, rejected: int) -> Vector:
        """The share of alpha of every hypothesis when those in `rejected` are gone (theirs is 0). Sums to at most 1."""


@dataclass(frozen=True)
class Graph:
    """Initial shares, and `transitions[j][l]`, the part of j's share that goes to l when j is rejected."""

    weights: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]

    @property
    def n(self) -> int:
        return len(self.weights)

    def shares(self, rejected: int) -> Vector:
        return _drawn_without(self, rejected)[0]

    def edges(self, rejected: int) -> Matrix:
        """The transitions left, [from, to]."""
        return _drawn_without(self, rejected)[1]


@lru_cache(maxsize=100_000)
def _drawn_without(graph: Graph, rejected: int) -> tuple[Vector, Matrix]:
    """Shares and transitions of the graph without some hypotheses: it is drawn anew as each of them leaves."""
    if rejected == 0:
        return np.array(graph.weights, dtype=np.float64), np.array(graph.transitions, dtype=np.float64).reshape(graph.n, graph.n)
    j = rejected.bit_length() - 1
    weights, edges = _drawn_without(graph, rejected & ~(1 << j))
    back = edges[:, j] * edges[j]
    left = 1.0 - back
    through = edges + edges[:, j, None] * edges[j]
    redrawn = np.divide(through, left[:, None], out=np.zeros_like(through), where=left[:, None] > 1e-15)
    np.fill_diagonal(redrawn, 0.0)
    shares = weights + weights[j] * edges[j]
    shares[j] = redrawn[j] = redrawn[:, j] = 0.0
    return shares, redrawn


@dataclass(frozen=True)
class SerialGatekeeping:
    """Families in order, each by Holm at full alpha once every hypothesis of those before is rejected. `families` hold indices."""

    families: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        return sum(len(family) for family in self.families)

    def shares(self, rejected: int) -> Vector:
        shares = np.zeros(self.n)
        for family in self.families:
            left = [j for j in family if not rejected >> j & 1]
            if left:
                shares[left] = 1.0 / len(left)
                break
        return shares


def bonferroni_graph(weights: Sequence[float]) -> Graph:
    """(Weighted) Bonferroni: nothing is inherited."""
    return Graph(tuple(weights), tuple((0.0,) * len(weights) for _ in weights))


def holm_graph(weights: Sequence[float]) -> Graph:
    """(Weighted) Holm: a share is inherited in proportion to the others' shares."""
    m = len(weights)
    rest = [sum(weights) - weight for weight in weights]
    edges = [[0.0 if i == j or rest[i] <= 0.0 else weights[j] / rest[i] for j in range(m)] for i in range(m)]
    return Graph(tuple(weights), tuple(map(tuple, edges)))


def fixed_sequence_graph(n: int) -> Graph:
    """All alpha on the first hypothesis, then on the next."""
    return fallback_graph([1.0] + [0.0] * (n - 1))


def fallback_graph(weights: Sequence[float]) -> Graph:
    """Every hypothesis has a share of its own, and hands what it holds to the next in order."""
    m = len(weights)
    return Graph(tuple(weights), tuple(tuple(1.0 if j == i + 1 else 0.0 for j in range(m)) for i in range(m)))


def parallel_gatekeeping_graph(first: Sequence[float], n_second: int) -> Graph:
    """Each hypothesis of the first family opens the second one with its own share; the second is tested by Holm.

    `first` are the shares of the first family; the hypotheses of the second (`n_second`, with no share yet) follow.
    """
    n_first = len(first)
    n = n_first + n_second
    edges = np.zeros((n, n))
    edges[:n_first, n_first:] = 1.0 / n_second
    if n_second > 1:
        edges[n_first:, n_first:] = 1.0 / (n_second - 1)
        np.fill_diagonal(edges, 0.0)
    return Graph((*first, *(0.0,) * n_second), tuple(map(tuple, edges.tolist())))


def shares_of(weighting: Weighting, rejected: NDArray[np.int64]) -> Matrix:
    """The shares of every replicate, [replicate, hypothesis], by what it has rejected, [replicate]."""
    states, where = np.unique(rejected, return_inverse=True)
    return np.stack([weighting.shares(int(state)) for state in states])[where]


@failures_as_one
def sequentially_rejective(p: Matrix, weighting: Weighting) -> Matrix:
    """Adjusted p-values of the graph: the level at which rejecting one after the other reaches each hypothesis.

    At every step the hypothesis with the smallest p / share goes; its adjusted p-value is the largest such ratio so far. It is 1
    where no alpha can ever arrive.
    """
    rows = np.arange(len(p))
    adjusted = np.ones_like(p)
    rejected = np.zeros(len(p), dtype=np.int64)
    reached = np.zeros(len(p))
    for _ in range(p.shape[-1]):
        shares = shares_of(weighting, rejected)
        ratio = np.divide(p, shares, out=np.full_like(p, np.inf), where=shares > 0.0)
        following = ratio.argmin(-1)
        smallest = ratio[rows, following]
        there = np.isfinite(smallest)
        reached = np.where(there, np.maximum(reached, smallest), reached)
        adjusted[rows[there], following[there]] = reached[there]
        rejected = np.where(there, rejected | (np.int64(1) << following), rejected)
    return adjusted
