"""Linear predictors of many outcomes at once: each term of a patient's baseline is worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.cohort.fitted.features import Term


class Predictors:
    """Sums of weighted standardised terms for some patients; term by term, so that a patient's bits depend on nobody else."""

    def __init__(self, columns: Mapping[str, Float[Tensor, "patient"]], arm: Int[Tensor, "patient"], arms: Sequence[str]):
        self._columns, self._arm, self._arms = columns, arm, tuple(arms)
        self._raw: dict[Term, Tensor] = {}

    def weigh(self, terms: Sequence[Term], weights: Sequence[float]) -> Float[Tensor, "patient"]:
        """Σ weight · standardised term."""
        constant = -sum(weight * term.centre / term.scale for term, weight in zip(terms, weights, strict=True))
        total = torch.full(self._arm.shape, constant, dtype=torch.float64, device=self._arm.device)
        for term, weight in zip(terms, weights, strict=True):
            if weight == 0.0:
                continue
            if term not in self._raw:
                self._raw[term] = term.raw(self._columns[term.column])
            total.add_(self._raw[term], alpha=weight / term.scale)
        return total

    def by_arm(self, numbers: Mapping[str, float]) -> Float[Tensor, "patient"]:
        """The number of each patient's arm (0 for an arm that has none)."""
        table = torch.tensor([numbers.get(arm, 0.0) for arm in self._arms], dtype=torch.float64, device=self._arm.device)
        return table[self._arm]

    def effect(self, numbers: Mapping[str, float], terms: Sequence[Term], modifiers: Mapping[str, Sequence[float]]) -> Float[Tensor, "patient"]:
        """What each patient's arm does: its number, and what the baseline adds to it."""
        total = self.by_arm(numbers)
        for arm, weights in modifiers.items():
            total.add_(self.weigh(terms, weights).mul_(self._arm == self._arms.index(arm)))
        return total
