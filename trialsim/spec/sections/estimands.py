"""The section `estimands`: what the trial wants to know, in the five attributes of ICH E9(R1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from trialsim.analysis import Treatment
from trialsim.cohort import Criterion
from trialsim.parts import Part
from trialsim.units import Quantity

Strategy = Literal["treatment_policy", "hypothetical", "composite", "while_on_treatment", "principal_stratum"]
SummaryMeasure = Literal[
    "hazard_ratio",
    "difference_in_means",
    "difference_in_proportions",
    "odds_ratio",
    "risk_ratio",
    "rate_ratio",
    "rmst_difference",
    "milestone_difference",
    "win_ratio",
    "net_benefit",
]


class Variable(Part):
    """An endpoint at one visit."""

    endpoint: str = Field(description="The endpoint.")
    at: str | None = Field(default=None, description="The visit; absent: the endpoint's last.")


class IntercurrentEventStrategy(Part):
    """How an intercurrent event is treated by the question."""

    strategy: Strategy = Field(description="The strategy of ICH E9(R1).")
    value: str | Quantity | None = Field(default=None, description="The value a composite strategy assigns.", examples=["worst_score"])


def _form(given: Any) -> str:
    return "word" if isinstance(given, str) else "map"


class Estimand(Part):
    """Population, treatment, variable, intercurrent events, summary measure."""

    population: Annotated[Annotated[Literal["all_randomized"], Tag("word")] | Annotated[dict[str, Criterion], Tag("map")], Discriminator(_form)] = Field(
        default="all_randomized", description="`all_randomized`, or criteria written as in `population.eligibility`."
    )
    treatment: Treatment = Field(description="Which arm is compared with which.")
    variable: Annotated[Annotated[str, Tag("word")] | Annotated[Variable, Tag("map")], Discriminator(_form)] = Field(
        description="An endpoint, or `{endpoint, at}`."
    )
    intercurrent_events: dict[str, IntercurrentEventStrategy] = Field(
        default_factory=dict,
        description="Event -> strategy: an entry of truth.intercurrent_events, an outcome, or (under treatment_policy) an event that is not modelled.",
    )
    summary_measure: SummaryMeasure = Field(description="How the arms are compared.")

    @property
    def endpoint(self) -> str:
        """The endpoint of the variable."""
        return self.variable if isinstance(self.variable, str) else self.variable.endpoint

    @property
    def visit(self) -> str | None:
        """The visit of the variable, where it names one."""
        return None if isinstance(self.variable, str) else self.variable.at

    def unsupported(self) -> Iterator[str]:
        if self.population != "all_randomized":
            yield "an estimand in a part of the population"
        for name, event in self.intercurrent_events.items():
            if event.strategy != "treatment_policy":
                yield f"the {event.strategy} strategy for {name}"
