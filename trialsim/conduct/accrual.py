"""Accrual: when patients are randomised, in calendar days since accrual opened.

`uniform: T` spaces the n planned patients evenly: patient i of n enters at (i - 1/2) T / n, the same in every replicate.
`rate` is a Poisson process with a piecewise constant intensity λ(t), whose last piece continues: patient i enters at
Λ⁻¹(E_1 + … + E_i), Λ(t) = ∫ λ, with unit exponentials E addressed by patient.

Source: inverse cumulative intensity, Çinlar 1975, ch. 4.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from trialsim.parts import Part
from trialsim.rng import Block, Streams
from trialsim.units import NonNegativeRate, PositiveTime, Time


class RatePiece(Part):
    """A constant accrual rate until a calendar time; the last piece of a list continues and has no `until`."""

    until: Time | None = Field(default=None, description="Calendar time at which this piece ends; the last piece continues whatever it says.")
    value: NonNegativeRate = Field(description="Patients per unit of time.")


class Accrual(Part):
    """Either `uniform: 12 months`, or `rate: 20 / month`, or `rate: [{until, value}, …]`."""

    uniform: PositiveTime | None = Field(default=None, description="All planned patients enter evenly spaced over this time.")
    rate: NonNegativeRate | list[RatePiece] | None = Field(
        default=None, description="A Poisson process with this rate, or with a rate by piece of calendar time."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Accrual:
        if (self.uniform is None) == (self.rate is None):
            raise PydanticCustomError("accrual", "needs exactly one of: uniform, rate")
        rates = [piece.value for piece in self.pieces()] if self.rate is not None else [1.0]
        if rates[-1] <= 0:
            raise PydanticCustomError("accrual", "the last rate continues and must be positive")
        ends = [piece.until for piece in self.pieces()[:-1]]
        if any(end is None for end in ends) or any(b <= a for a, b in pairwise(ends) if a is not None and b is not None):
            raise PydanticCustomError("accrual", "every piece but the last needs an `until`, and they must increase")
        return self

    def pieces(self) -> list[RatePiece]:
        """The intensity as pieces; empty for uniform accrual."""
        if self.rate is None:
            return []
        return self.rate if isinstance(self.rate, list) else [RatePiece.model_construct(until=None, value=self.rate)]

    def expected_entry(self, n: int) -> Float[Tensor, "patient"]:
        """Entry times of an average trial: exact for uniform accrual, Λ⁻¹(i - 1/2) for a Poisson process."""
        return self._at_intensity(torch.arange(n, dtype=torch.float64, device="cpu")[None] + 0.5)[0] if self.uniform is None else self._even(n, "cpu")[0]

    def entry_times(self, streams: Streams, block: Block, n: int) -> Float[Tensor, "replicate_or_1 patient"]:
        """Calendar time of randomisation of patients 1..n, not decreasing; one row if every replicate has the same."""
        if self.uniform is not None:
            return self._even(n, streams.device)
        return self._at_intensity(streams("accrual").exponential(block, n).cumsum(-1))

    def _even(self, n: int, device: str) -> Float[Tensor, "1 patient"]:
        assert self.uniform is not None
        return ((torch.arange(n, dtype=torch.float64, device=device) + 0.5) * (self.uniform / n))[None]

    def _at_intensity(self, cumulative: Float[Tensor, "replicate patient"]) -> Float[Tensor, "replicate patient"]:
        """Λ⁻¹, piece by piece: the last piece that starts at or before the given cumulative intensity applies."""
        start, reached = 0.0, 0.0
        entry = cumulative
        for position, piece in enumerate(self.pieces()):
            if piece.value > 0:
                within = start + (cumulative - reached) / piece.value
                entry = within if position == 0 or reached == 0.0 else torch.where(cumulative > reached, within, entry)
            if piece.until is not None and position < len(self.pieces()) - 1:
                reached += piece.value * (piece.until - start)
                start = piece.until
        return entry
