"""Numbers that depend on the arm a patient is seen under, and perhaps on one of the patient's baseline categories.

`arm` is an int, when all patients are seen under one arm, or the assigned arm of each patient. Both give the same number
to the same patient under the same arm, so a counterfactual outcome is the assigned one bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.records import Cohort
from trialsim.tensors import resident

Arm = int | Int[Tensor, "replicate patient"]


@dataclass(frozen=True, slots=True)
class ByCategory:
    """A value per category of a covariate; `codes` are the numbers that the cohort's column holds for them."""

    covariate: str
    codes: tuple[float, ...]
    values: tuple[float, ...]


def pick(table: Float[Tensor, "arm"], arm: Arm) -> float | Float[Tensor, "replicate patient"]:
    """`table[arm]`: a number for an int, else a new tensor of arm's shape (0.9 ns per patient). The table is a constant on the CPU."""
    if isinstance(arm, int):
        return float(table[arm])
    return torch.index_select(resident(table, arm.device), 0, arm.reshape(-1).int()).view(arm.shape)


class CategoryTable:
    """Values by arm and category of one covariate; `neutral` for other categories, missing ones, and arms not given."""

    def __init__(self, covariate: str, by_arm: Sequence[ByCategory | None], neutral: float):
        self.covariate = covariate
        self.codes = tuple(sorted({code for by in by_arm if by is not None for code in by.codes}))
        table = torch.full((len(by_arm), len(self.codes) + 1), neutral, dtype=torch.float64, device="cpu")
        for row, by in enumerate(by_arm):
            for code, value in zip(by.codes, by.values, strict=True) if by is not None else ():
                table[row, 1 + self.codes.index(code)] = value
        self._table = table.view(-1)

    def __call__(self, cohort: Cohort, arm: Arm) -> Float[Tensor, "replicate patient"]:
        """The value of every patient under `arm`."""
        column = cohort.columns[self.covariate]
        category = torch.zeros(column.shape, dtype=torch.int32, device=column.device)
        for position, code in enumerate(self.codes, start=1):
            category += (column == code).int() * position
        row = arm if isinstance(arm, int) else arm.int()
        index = category + row * (len(self.codes) + 1)
        return torch.index_select(resident(self._table, index.device), 0, index.reshape(-1)).view(index.shape)


def category_tables(by_arm: Sequence[ByCategory | None], neutral: float) -> tuple[CategoryTable, ...]:
    """One table for each covariate that an arm's effect depends on."""
    covariates: Mapping[str, None] = dict.fromkeys(by.covariate for by in by_arm if by is not None)
    return tuple(CategoryTable(name, [by if by is not None and by.covariate == name else None for by in by_arm], neutral) for name in covariates)
