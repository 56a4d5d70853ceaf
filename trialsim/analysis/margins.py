"""Non-inferiority and equivalence: the test of an effect against a margin instead of against none.

The margin is an allowed loss L > 0: itself on a scale of differences, |log margin| on a scale of ratios (so that 1.3 and 1/1.3
say the same). With e the effect signed so that larger is better, and z(v) the statistic of the hypothesis e = v:

    non-inferiority   H0: e ≤ -L           z = z(-L)
    equivalence       H0: |e| ≥ L          z = min(z(-L), -z(L)): two one-sided tests, both must reject

z(v) is (estimate - v)/se where a method has no test of its own against a value (`Analysis.statistic_at`). The tests are
one-sided at alpha / sides; estimate and interval are what they are without a margin, and the interval at 1 - 2 alpha one-sided lies
beyond the margin exactly when such a Wald test rejects.

**Source:** Schuirmann 1987 (doi 10.1007/BF01068419) for two one-sided tests; ICH E9, section 3.3.2.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.failures import NO_VARIANCE, fail
from trialsim.records import AnalysisData, Estimates


@runtime_checkable
class MarginQuestion(Protocol):
    """What is asked of an analysis with a margin."""

    @property
    def type(self) -> Literal["superiority", "non_inferiority", "equivalence"]: ...

    @property
    def allowed_loss(self) -> float: ...

    def statistic_at(self, data: AnalysisData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]: ...


def allowed_loss(margin: float | None, std_error_scale: str | None) -> float:
    """The margin as a distance on the scale of inference; 0 without one."""
    if margin is None:
        return 0.0
    return abs(math.log(margin)) if (std_error_scale or "").startswith("log_") else margin


def wald_statistic_at(found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:
    """(estimate - value)/se, positive where the effect is better than `value`."""
    assert found.estimate is not None, "a method without an estimate has no margin"
    assert found.std_error is not None, "a method without a standard error has no margin"
    return favours * (found.estimate - value) / found.std_error


def against_margin(question: MarginQuestion, data: AnalysisData, found: Estimates, *, favours: int) -> Estimates:
    """The same estimates with the statistic of the margin."""
    edge = favours * question.allowed_loss
    statistic = question.statistic_at(data, found, -edge, favours=favours)
    if question.type == "equivalence":
        statistic = torch.minimum(statistic, question.statistic_at(data, found, edge, favours=-favours))
    failure = torch.where((found.failure == 0) & torch.isnan(statistic), NO_VARIANCE, found.failure)
    (statistic,) = fail(failure, statistic)
    return dataclasses.replace(found, statistic=statistic, failure=failure)


def null_values(type_: str, loss: float, *, favours: int) -> tuple[float, ...]:
    """The edges of the null hypothesis on the scale of inference: one, or for equivalence the worse and the better one."""
    if type_ == "superiority":
        return (0.0,)
    return (-favours * loss,) if type_ == "non_inferiority" else (-favours * loss, favours * loss)
