"""Linear predictors of many outcomes at once: each term of a patient's baseline is worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.outcomes.companions import Effects


class Predictors(Protocol):
    """What the outcomes ask of a patient's baseline and arm."""

    arm: Int[Tensor, "patient"]

    def by_arm(self, numbers: Mapping[str, float]) -> Float[Tensor, "patient"]:
        """The number of each patient's arm (0 for an arm that has none)."""
        ...

    def weigh(self, terms: Sequence[Term], weights: Sequence[float]) -> Float[Tensor, "patient"]:
        """Σ weight · standardised term."""
        ...

    def varied(self, terms: Sequence[Term], weights: Sequence[float], modifiers: Mapping[str, Sequence[float]]) -> Float[Tensor, "patient"]:
        """Σ weight · standardised term, with an arm's modifiers added to the weights."""
        ...

    def by_companion(self, effects: Effects) -> Float[Tensor, "*patient"]:
        """What the level of each companion adds in the patient's arm: 0 where there is no companion, or a level is missing (−1)."""
        ...


class _ByArm:
    """What both kinds of predictors do with arms."""

    def __init__(self, arm: Int[Tensor, "patient"], arms: Sequence[str], companions: Mapping[str, Int[Tensor, "patient"]] | None = None):
        self.arm, self._arms, self._companions = arm, tuple(arms), companions or {}

    def by_arm(self, numbers: Mapping[str, float]) -> Float[Tensor, "patient"]:
        table = torch.tensor([numbers.get(arm, 0.0) for arm in self._arms], dtype=torch.float64, device=self.arm.device)
        return table[self.arm]

    def weigh(self, terms: Sequence[Term], weights: Sequence[float]) -> Float[Tensor, "patient"]:
        raise NotImplementedError

    def varied(self, terms: Sequence[Term], weights: Sequence[float], modifiers: Mapping[str, Sequence[float]]) -> Float[Tensor, "patient"]:
        total = self.weigh(terms, weights)
        for arm, row in modifiers.items():
            total.add_(self.weigh(terms, row).mul_(self.arm == self._arms.index(arm)))
        return total

    def by_companion(self, effects: Effects) -> Float[Tensor, "*patient"]:
        total = torch.zeros((), dtype=torch.float64, device=self.arm.device)
        for name, rows in effects.items():
            if name in self._companions:
                none = (0.0,) * len(next(iter(rows.values())))
                table = torch.tensor([(*rows.get(arm, none), 0.0) for arm in self._arms], dtype=torch.float64, device=self.arm.device)
                total = total + table[self.arm, self._companions[name]]  # −1 is the last, 0
        return total


class CohortPredictors(_ByArm):
    """Sums of weighted standardised terms for some patients; term by term, so that a patient's bits depend on nobody else."""

    def __init__(
        self,
        columns: Mapping[str, Float[Tensor, "patient"]],
        arm: Int[Tensor, "patient"],
        arms: Sequence[str],
        companions: Mapping[str, Int[Tensor, "patient"]] | None = None,
    ):
        super().__init__(arm, arms, companions)
        self._columns = columns
        self._raw: dict[Term, Tensor] = {}

    def weigh(self, terms: Sequence[Term], weights: Sequence[float]) -> Float[Tensor, "patient"]:
        constant = -sum(weight * term.centre / term.scale for term, weight in zip(terms, weights, strict=True))
        total = torch.full(self.arm.shape, constant, dtype=torch.float64, device=self.arm.device)
        for term, weight in zip(terms, weights, strict=True):
            if weight == 0.0:
                continue
            if term not in self._raw:
                self._raw[term] = term.raw(self._columns[term.column])
            total.add_(self._raw[term], alpha=weight / term.scale)
        return total


class DesignPredictors(_ByArm):
    """The same for patients whose standardised terms are a matrix `[patient, term]`."""

    def __init__(
        self,
        design: Float[Tensor, "patient term"],
        arm: Int[Tensor, "patient"],
        arms: Sequence[str],
        companions: Mapping[str, Int[Tensor, "patient"]] | None = None,
    ):
        super().__init__(arm, arms, companions)
        self._design = design

    def weigh(self, terms: Sequence[Term], weights: Sequence[float]) -> Float[Tensor, "patient"]:
        return self._design[:, : len(terms)] @ torch.tensor(weights, dtype=torch.float64, device=self._design.device)
