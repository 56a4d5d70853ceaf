"""Procedures that control the family-wise error rate: p-values or statistics of every hypothesis in, adjusted p-values out.

    adjustment   Bonferroni, Šidák, Holm, Hochberg, Hommel, fixed sequence
    graph        graphs of hypotheses (fallback, gatekeeping, …), tested one rejection after the other
    closure      closed tests of graphs, by Bonferroni, Simes or the joint distribution
    dunnett      several arms against one reference

Arrays are [replicate, hypothesis]; the numbers of a replicate do not depend on the others.
"""

from __future__ import annotations

from trialsim.design.multiplicity.closure import closed_test, rejected_parametrically
from trialsim.design.multiplicity.graph import (
    Graph,
    SerialGatekeeping,
    Weighting,
    bonferroni_graph,
    fallback_graph,
    fixed_sequence_graph,
    holm_graph,
    parallel_gatekeeping_graph,
    sequentially_rejective,
    shares_of,
)

__all__ = [
    "Graph",
    "SerialGatekeeping",
    "Weighting",
    "bonferroni_graph",
    "closed_test",
    "fallback_graph",
    "fixed_sequence_graph",
    "holm_graph",
    "parallel_gatekeeping_graph",
    "rejected_parametrically",
    "sequentially_rejective",
    "shares_of",
]
