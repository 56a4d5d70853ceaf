"""A hazard that is constant between breaks, its integral and its inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class StepHazard:
    """`hazards[j]` per day on [breaks[j - 1], breaks[j]), the last without end. Breaks increase strictly, hazards are >= 0.

    H is linear between breaks; its inverse at h is breaks[j - 1] + (h - H(breaks[j - 1])) / hazards[j] for the last j with
    H(breaks[j - 1]) <= h, infinity when the last hazard is zero.
    """

    def __init__(self, breaks: Sequence[float], hazards: Sequence[float]):
        self.breaks, self.hazards = tuple(float(x) for x in breaks), tuple(float(x) for x in hazards)
        reached, starts = [0.0], [0.0, *self.breaks]
        for j in range(len(self.breaks)):
            reached.append(reached[-1] + self.hazards[j] * (starts[j + 1] - starts[j]))
        self.starts, self.reached = tuple(starts), tuple(reached)
        self._tables: dict[torch.device, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if device not in self._tables:
            wait = [1.0 / hazard if hazard > 0 else math.inf for hazard in self.hazards]
            self._tables[device] = tuple(torch.tensor(row, dtype=torch.float64, device=device) for row in (self.starts, self.reached, self.hazards, wait))  # type: ignore[assignment]
        return self._tables[device]

    def cumulative_hazard(self, t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """H(t) for t >= 0."""
        if not self.breaks:
            return t * self.hazards[0] if self.hazards[0] > 0 else t.clamp(max=0.0)
        starts, reached, hazards, _ = self._table(t.device)
        piece = torch.bucketize(t, starts[1:], right=True)
        spent = (t - starts[piece]).mul_(hazards[piece])
        return torch.where(hazards[piece] > 0, spent, 0.0).add_(reached[piece])

    def inverse_cumulative_hazard(self, h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The time at which H reaches h > 0."""
        if not self.breaks:
            return h / self.hazards[0] if self.hazards[0] > 0 else torch.full_like(h, math.inf)
        starts, reached, hazards, wait = self._table(h.device)
        piece = torch.bucketize(h, reached[1:], right=True)
        spent = (h - reached[piece]).mul_(wait[piece])
        if self.hazards[-1] == 0:
            spent = torch.where(hazards[piece] > 0, spent, math.inf)
        return spent.add_(starts[piece])
