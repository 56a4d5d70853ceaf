"""How several comparisons share one alpha: the words of the language. The procedures themselves are in `design.multiplicity`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trialsim.parts import Part
from trialsim.units import Probability

Procedure = Literal["none", "bonferroni", "sidak", "holm", "hochberg", "hommel", "fixed_sequence", "fallback", "dunnett"]


class Graph(Part):
    """A graph of hypotheses: initial weights, and the share of alpha each passes on when rejected (Bretz et al. 2009, doi 10.1002/sim.3495)."""

    weights: dict[str, Probability] = Field(description="Initial share of alpha of each hypothesis; at most 1 in all.")
    transitions: dict[str, dict[str, Probability]] = Field(description="From a rejected hypothesis to the others: the share of its alpha each receives.")

    @model_validator(mode="after")
    def _within_alpha(self) -> Self:
        if sum(self.weights.values()) > 1 + 1e-9:
            raise ValueError("the weights of the graph add up to more than 1")
        for source, targets in self.transitions.items():
            for name in (source, *targets):
                if name not in self.weights:
                    raise ValueError(f'transition names "{name}", which has no weight')
            if source in targets:
                raise ValueError(f'"{source}" passes alpha to itself')
            if sum(targets.values()) > 1 + 1e-9:
                raise ValueError(f'the transitions from "{source}" add up to more than 1')
        return self


class GraphProcedure(Part):
    """`multiplicity: {graph: {weights, transitions}}`."""

    graph: Graph = Field(description="Weights and transitions of the graph.")
    test: Literal["bonferroni", "simes", "parametric"] = Field(
        default="bonferroni",
        description="How intersections of hypotheses are tested: by their weights alone, by Simes' test, or (arms against one reference) by the joint "
        "normal distribution of their statistics.",
    )


Multiplicity = Procedure | GraphProcedure
