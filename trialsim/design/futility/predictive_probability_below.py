"""Futility when the predictive probability of success is low. The engine cannot run it yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from trialsim.design.futility.rule import FutilityRule
from trialsim.units import Share


class PredictiveProbabilityBelow(FutilityRule):
    """Stop when the predictive probability of final success, given the data and the prior, is below a threshold."""

    key = "predictive_probability_below"
    supported: ClassVar[bool] = False
    predictive_probability_below: Annotated[Share, Field(gt=0, lt=1)] = Field(description="The predictive probability of success below which the trial stops.")

    def unsupported(self) -> Iterator[str]:
        yield "futility by predictive probability"
