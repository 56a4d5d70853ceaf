"""From the words of `multiplicity` to the procedures of `design.multiplicity`.

Hypotheses have names: the arms of an analysis, or the members of a family. p-values are on the scale of the family's alpha (two-sided where it is).
Procedures that hand on alpha are a weighting of hypotheses; only these can be carried on from look to look. The others decide once,
from all statistics together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity
from trialsim.design.multiplicity import (
    Graph,
    Weighting,
    adjustment,
    bonferroni_graph,
    closed_test,
    dunnett,
    fallback_graph,
    fixed_sequence_graph,
    holm_graph,
    rejected_parametrically,
    sequentially_rejective,
)

Matrix = NDArray[np.float64]
"""[replicate, hypothesis]"""


@dataclass(frozen=True, slots=True)
class ManyToOne:
    """Arms against one reference: `statistic` t (or z, where `df` is None), and the `loadings` whose products are their correlations.

    `statistic` and `loadings` are [replicate, hypothesis], `df` [replicate]; `sides` of the test.
    """

    statistic: Matrix
    loadings: Matrix
    df: NDArray[np.float64] | None
    sides: int


def weighting_of(procedure: Multiplicity, names: Sequence[str]) -> Weighting | None:
    """The shares of alpha, where the procedure is rejecting one after the other by weighted Bonferroni tests; else None."""
    m = len(names)
    if isinstance(procedure, GraphProcedure):
        return graph_of(procedure, names) if procedure.test == "bonferroni" else None
    equal = [1.0 / m] * m
    if procedure == "bonferroni":
        return bonferroni_graph(equal)
    if procedure == "holm":
        return holm_graph(equal)
    if procedure == "fixed_sequence":
        return fixed_sequence_graph(m)
    return fallback_graph(equal) if procedure == "fallback" else None


def graph_of(procedure: GraphProcedure, names: Sequence[str]) -> Graph:
    """The graph of a protocol, with its hypotheses in the order of `names`."""
    weights, transitions = procedure.graph.weights, procedure.graph.transitions
    edges = tuple(tuple(float(transitions.get(source, {}).get(target, 0.0)) for target in names) for source in names)
    return Graph(tuple(float(weights.get(name, 0.0)) for name in names), edges)


def needs_many_to_one(procedure: Multiplicity) -> bool:
    """Whether the procedure rests on the joint distribution of several arms against one reference."""
    return procedure == "dunnett" or (isinstance(procedure, GraphProcedure) and procedure.test == "parametric")


def rejected(
    p: Matrix, procedure: Multiplicity, names: Sequence[str], *, alpha: float, arms: ManyToOne | None = None, groups: Sequence[Sequence[int]] = ()
) -> NDArray[np.bool_]:
    """Which hypotheses the procedure rejects at family-wise level alpha, [replicate, hypothesis]. NaN never rejects.

    `arms` for the procedures that need it (`needs_many_to_one`); the first replicate's `loadings` and the `groups` of hypotheses that share a
    reference tell a parametric graph the correlations it may use.
    """
    if procedure == "none":
        return p <= alpha
    if procedure == "dunnett":
        assert arms is not None
        return dunnett.rejected_step_down(arms.statistic, arms.loadings, arms.df, alpha=alpha, sides=arms.sides)
    if isinstance(procedure, GraphProcedure) and procedure.test == "parametric":
        assert arms is not None
        return rejected_parametrically(p, graph_of(procedure, names), groups=groups, correlation=_products(arms.loadings[0]), alpha=alpha)
    return np.asarray(_adjusted(p, procedure, names) <= alpha)


def _adjusted(p: Matrix, procedure: Multiplicity, names: Sequence[str]) -> Matrix:
    weighting = weighting_of(procedure, names)
    if weighting is not None:
        return sequentially_rejective(p, weighting)
    if isinstance(procedure, GraphProcedure):
        return closed_test(p, graph_of(procedure, names), test="simes")
    found: Matrix = getattr(adjustment, procedure)(p)
    return found


def _products(loadings: NDArray[np.float64]) -> Matrix:
    correlation = np.outer(loadings, loadings)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def of_family(p_value: float | None, *, tested_sides: int, sides: int) -> float | None:
    """A p-value on the scale of a family's alpha, total over `sides`: that of a one-sided test in a two-sided family counts twice."""
    return None if p_value is None else min(1.0, p_value * sides / tested_sides)


def adjust(
    p_values: Sequence[float | None],
    names: Sequence[str],
    procedure: Multiplicity,
    *,
    sides: int = 2,
    n: Sequence[float] = (),
    n_reference: float | Sequence[float] | None = None,
    df: float | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> list[float | None]:
    """The adjusted p-values of one family of hypotheses: each is rejected at level alpha where its own is at most alpha.

    `p_values` are on the scale of that alpha, total over `sides` (see `of_family`), in the order of `names` (which is the order of a
    sequence, and what a graph names). None: the analysis failed; it counts as 1 for the others. `dunnett` and parametric graphs also need
    the patients analysed in each hypothesis's test arm (`n`) and reference arm (one number: the same for all), and the degrees of freedom `df` (None: normal). `groups` are
    the hypotheses that compare arms of one analysis, by place: only their correlation is known (None: all of them).

        >>> [round(value, 6) for value in adjust([0.01, 0.04, 0.03], ["low", "middle", "high"], "holm")]
        [0.03, 0.06, 0.06]
    """
    p = np.array([[np.nan if value is None else value for value in p_values]])
    if procedure == "none":
        found = p
    elif needs_many_to_one(procedure):
        if n_reference is None or len(n) != len(names):
            raise ValueError("the patients in every arm are needed")
        loadings = dunnett.loadings(np.broadcast_to(np.asarray(n_reference, dtype=np.float64), (1, len(n))), np.array([n], dtype=np.float64))
        if isinstance(procedure, GraphProcedure):
            found = closed_test(p, graph_of(procedure, names), test="parametric", groups=groups, correlation=_products(loadings[0]))
        else:
            upper = 1.0 - p / sides
            statistic = np.asarray(ndtri(upper) if df is None else stdtrit(df, upper), dtype=np.float64)
            found = dunnett.step_down(statistic, loadings, None if df is None else np.array([df]), sides=sides)
    else:
        found = _adjusted(p, procedure, names)
    return [None if np.isnan(value) else float(value) for value in found[0]]
