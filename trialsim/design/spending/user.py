"""Spending stated look by look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.design.spending.law import SpendingLaw
from trialsim.units import Probability


class UserSpending(SpendingLaw):
    """Cumulative spending at looks 1, 2, … as stated; the last look spends all that is left.

    The values are on the scale of the total: with a two-sided alpha of 0.05 they are two-sided, 0.05 at the end.
    They belong to looks, not to times: `time` only tells how many looks there are.
    """

    spending: Literal["user"] = Field(description="Cumulative spending stated for each look.")
    values: tuple[Probability, ...] = Field(
        min_length=1, description="Cumulative probability spent at each look (total over sides); the final look may be left out."
    )

    @model_validator(mode="after")
    def _do_not_decrease(self) -> Self:
        if any(later < earlier for earlier, later in zip(self.values, self.values[1:], strict=False)):
            raise PydanticCustomError("spending", "cumulative spending must not decrease: {values}", {"values": list(self.values)})
        return self

    def cumulative(self, time: NDArray[np.float64], total: float) -> NDArray[np.float64]:
        interims = np.asarray(self.values[: len(time) - 1], dtype=np.float64)
        return np.append(np.minimum(interims, total), total)

    def one_side(self, time: NDArray[np.float64], total: float, sides: int) -> NDArray[np.float64]:
        return self.cumulative(time, total) / sides

    def check_looks(self, n_looks: int) -> Iterator[str]:
        if len(self.values) not in (n_looks - 1, n_looks):
            yield f"values: {len(self.values)} given; {n_looks} looks need {n_looks} (or {n_looks - 1}, without the final look)"
