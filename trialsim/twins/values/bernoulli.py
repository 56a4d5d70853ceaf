"""A single yes or no per patient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from trialsim.records import Cohort
from trialsim.rng import Block, Stream
from trialsim.twins.arm_shift import ArmShift, plus
from trialsim.twins.arm_table import Arm
from trialsim.twins.effects import Effect, values_of
from trialsim.twins.process import OutcomeProcess
from trialsim.twins.prognosis import LinearPredictor
from trialsim.units import Probability

FAR = 800.0  # a log odds whose probability is 0 (or 1) in floating point


def log_odds(p: float) -> float:
    """log(p / (1 - p)), finite also at 0 and 1."""
    return -FAR if p <= 0.0 else FAR if p >= 1.0 else math.log(p) - math.log1p(-p)


class Bernoulli(OutcomeProcess):
    """y = 1 when u > 1 - P, with log odds(P) = log odds(p_arm) + prognostic terms.

    p_arm is the arm's probability at the centre of every prognostic covariate: p * or / (1 - p + p * or), or the declared
    p, or p + difference, or p * ratio. So the odds ratio of an arm, given the covariates, is the same for all patients of a
    category whichever way the effect is declared, and no probability leaves [0, 1]. With prognostic covariates the
    difference (ratio, odds ratio) over the population is not the declared one. One number per patient: at whatever visit
    it is asked for, its noise is the same.
    """

    effect_kinds: ClassVar[tuple[str, ...]] = ("or", "p", "difference", "ratio")
    prognostic_kinds: ClassVar[tuple[str, ...]] = ("or",)

    dist: Literal["bernoulli"] = Field("bernoulli", description="A yes with probability p.")
    p: Probability = Field(description="The probability of a yes under the reference arm at the centre of every prognostic covariate.")

    def arm_log_odds(self, kind: str, value: float) -> float:
        """The shift in log odds that an effect of this kind and value is."""
        if kind == "or":
            return math.log(value)
        arm = {"p": value, "difference": self.p + value, "ratio": self.p * value}[kind]
        return log_odds(min(max(arm, 0.0), 1.0)) - log_odds(self.p)

    def effect_problems(self, effect: Effect) -> Iterator[str]:
        if effect.kind in ("difference", "ratio"):
            for value in values_of(effect.profile):
                p = self.p + value if effect.kind == "difference" else self.p * value
                if not -1e-12 <= p <= 1.0 + 1e-12:
                    yield f"{effect.kind} {value:g} makes the probability {p:g}; it must lie between 0 and 1 (the reference arm's is {self.p:g})"


class BinaryValue:
    """Kernel of `Bernoulli` at one visit."""

    noise = "uniform"

    def __init__(self, process: Bernoulli, predictor: LinearPredictor, shift: ArmShift):
        self.base, self.predictor, self.shift = log_odds(process.p), predictor, shift

    def expected(self, cohort: Cohort | None) -> Float[Tensor, "replicate patient"]:
        """The log odds of a yes under the reference process."""
        return plus(self.predictor(cohort), 0.0, self.base)

    def log_odds(self, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The log odds of a yes under `arm`."""
        return plus(self.predictor(cohort), self.shift.of(cohort, arm), self.base)

    def mean(self, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The probability of a yes under `arm`; of shape [1, 1] where it is the same for everyone."""
        return torch.sigmoid(self.log_odds(cohort, arm))

    def draw(self, stream: Stream, block: Block, n: int, *, cohort: Cohort | None, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """0 or 1 for every patient under `arm`."""
        u = stream.uniform(block, n)
        return (u > 1.0 - self.mean(cohort, arm).to(u.device)).to(torch.float64)

    def same(self, arm: int, reference: int) -> bool:
        return self.shift.same(arm, reference)
