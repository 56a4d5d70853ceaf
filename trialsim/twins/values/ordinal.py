"""A single ordered category per patient, with proportional odds."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.arm_shift import ArmShift, plus
from trialsim.twins.arm_table import Arm
from trialsim.twins.process import OutcomeProcess
from trialsim.twins.prognosis import LinearPredictor
from trialsim.twins.values.bernoulli import log_odds
from trialsim.units import Probability


class Ordinal(OutcomeProcess):
    """log odds(Y > j) = log odds of the reference + log or_arm + prognostic terms, for every category j: proportional odds.

    y is the category's place, 0, 1, … from the lowest: the number of categories j with u > P(Y <= j). An odds ratio above 1
    makes higher categories more likely.

    **Source:** McCullagh 1980, JRSS B 42:109, doi 10.1111/j.2517-6161.1980.tb01109.x.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("or",)
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("or",)

    dist: Literal["ordinal"] = Field("ordinal", description="An ordered category; effects are proportional odds of a higher one.")
    probs: dict[str, Probability] = Field(description="Category -> probability, from the lowest to the highest.")

    @model_validator(mode="after")
    def _a_distribution(self) -> Self:
        total = math.fsum(self.probs.values())
        if len(self.probs) < 2:
            raise PydanticCustomError("ordinal", "an ordinal outcome needs at least two categories")
        if abs(total - 1.0) > 1e-9:
            raise PydanticCustomError("ordinal", "{text}", {"text": f"the probabilities of an ordinal outcome sum to {total:g}; they must sum to 1"})
        return self

    @property
    def log_odds_above(self) -> tuple[float, ...]:
        """log odds(Y > j) of the reference at j = 0, …, K - 2."""
        return tuple(log_odds(min(max(1.0 - below, 0.0), 1.0)) for below in itertools.accumulate(list(self.probs.values())[:-1]))


class OrdinalValue:
    """Kernel of `Ordinal` at one visit."""

    noise = "uniform"

    def __init__(self, process: Ordinal, predictor: LinearPredictor, shift: ArmShift):
        self.above, self.predictor, self.shift = process.log_odds_above, predictor, shift

    def expected(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The log odds of a higher category under the reference process, against a patient at the centre of every covariate."""
        return plus(self.predictor(cohort), 0.0)

    def chances_above(self, cohort: Cohort | None, arm: Arm) -> tuple[Float[Tensor, "replicate patient"], ...]:
        """P(Y > j) under `arm` for every j but the highest."""
        eta = plus(self.predictor(cohort), self.shift.of(cohort, arm))
        return tuple(torch.sigmoid(eta + base) for base in self.above)

    def mean(self, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The expected place of the category under `arm`."""
        first, *others = self.chances_above(cohort, arm)
        for chance in others:
            first = first + chance
        return first

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The category of every patient under `arm`."""
        u = stream.uniform(block, n)
        place = torch.zeros_like(u)
        for chance in self.chances_above(cohort, arm):
            place += u > 1.0 - chance.to(u.device)
        return place

    def same(self, arm: int, reference: int) -> bool:
        return self.shift.same(arm, reference)
