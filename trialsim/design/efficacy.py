"""When a look may declare efficacy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from trialsim.design.boundary import BOUNDARIES, Boundary
from trialsim.design.choice import Rule, choice
from trialsim.design.spending import LAWS, SpendingLaw
from trialsim.units import Number, Share

Level = Annotated[Share, Field(gt=0, lt=1)]


class BayesianEfficacy(Rule):
    """Efficacy by a posterior or predictive probability. The engine cannot run these yet."""

    supported: ClassVar[bool] = False

    def unsupported(self) -> Iterator[str]:
        yield f"efficacy by {self.key}"

    def check_looks(self, n_looks: int) -> Iterator[str]:
        yield from ()


class PosteriorProbability(BayesianEfficacy):
    """Efficacy when the posterior probability of an effect beyond the margin exceeds the threshold."""

    key = "posterior_probability"
    posterior_probability: Level = Field(description="The posterior probability that must be exceeded.")
    margin: Number = Field(default=0.0, description="The effect that must be exceeded, on the scale of inference.")


class PredictiveProbability(BayesianEfficacy):
    """Efficacy when the predictive probability of success at the final look exceeds the threshold."""

    key = "predictive_probability"
    predictive_probability: Level = Field(description="The predictive probability of final success that must be exceeded.")


class ProbabilityBest(BayesianEfficacy):
    """Efficacy when the probability that the arm is the best one exceeds the threshold."""

    key = "probability_best"
    probability_best: Level = Field(description="The probability of being the best arm that must be exceeded.")


EFFICACY: tuple[type[Rule], ...] = (*LAWS, *BOUNDARIES, PosteriorProbability, PredictiveProbability, ProbabilityBest)

if TYPE_CHECKING:
    Efficacy = SpendingLaw | Boundary | BayesianEfficacy
else:
    Efficacy = choice("efficacy", EFFICACY, "{spending: lan_demets_obrien_fleming}")
