"""How a regression sees the arms: an effect at the average patient, and how covariates modify it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.features import Term
from trialsim.cohort.fitted.outcomes.newton import Array

MODIFIER_SCALES = (0.0, 0.03, 0.06, 0.1, 0.15, 0.25)  # of how an effect changes with a standardised term
STEP_SCALES = (0.0, 0.1, 0.2, 0.3, 0.5)  # of how a log hazard ratio changes from piece to piece


@dataclass(frozen=True, slots=True)
class ArmDesign:
    """Columns of a regression for the arms other than the reference.

    `treated` `[patient, other]` are indicators; `modifiers` `[patient, other · term]` their products with standardised
    terms, arm by arm, 0 where the term is a bend: an effect may change along a covariate, on a line.
    """

    others: tuple[str, ...]
    treated: Array
    modifiers: Array
    may_modify: NDArray[np.bool_]

    @classmethod
    def of(cls, *, arms: tuple[str, ...], reference: int, arm: NDArray[np.int64], terms: Sequence[Term], design: Float[Tensor, "patient term"]) -> ArmDesign:
        places = [place for place in range(len(arms)) if place != reference]
        x = design.numpy()
        treated = np.stack([(arm == place).astype(np.float64) for place in places], axis=1) if places else np.zeros((len(arm), 0))
        may = np.array([term.kind != "bend" for term in terms], dtype=bool)
        products = [treated[:, [column]] * x[:, may] for column in range(len(places))]
        return cls(tuple(arms[place] for place in places), treated, np.concatenate([np.zeros((len(arm), 0)), *products], axis=1), may)

    def by_arm(self, weights: Array) -> Mapping[str, tuple[float, ...]]:
        """The modifiers' weights by arm, one per term (0 for bends); empty where all are 0."""
        if not weights.any():
            return {}
        rows = weights.reshape(len(self.others), -1)
        full = np.zeros((len(rows), len(self.may_modify)))
        full[:, self.may_modify] = rows
        return {name: tuple(row.tolist()) for name, row in zip(self.others, full, strict=True)}
