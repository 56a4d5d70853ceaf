"""The bounds an analysis meets at its looks, replicate by replicate.

Where every look is made at its planned information the bounds are solved once. Where it is not (calendar looks; a final
look that comes early because the planned one cannot be reached) they are solved once per distinct history of information
and kept. The last look of a trial spends all remaining alpha, whatever its information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.design import Efficacy, Futility, bounds


@dataclass(frozen=True, slots=True)
class MonitoringPlan:
    """The looks of one analysis, compiled.

    `targets` are the planned information at its looks (events or patients), or information fractions where no total is
    known; `planned` is the total they are fractions of. `by_calendar`: spend at observed / planned information.
    """

    alpha: float
    sides: int
    efficacy: Efficacy | None
    futility: Futility | None
    targets: tuple[float, ...]
    planned: float
    by_calendar: bool = False
    _solved: dict[tuple[tuple[float, ...], bool], tuple[float, float]] = field(default_factory=dict)

    def at_last_of(self, information: Sequence[float], *, final: bool) -> tuple[float, float]:
        """Efficacy and futility bound (NaN: none) at the last of these looks, given the information at all of them."""
        key = (tuple(information), final)
        if key not in self._solved:
            fractions = [value / self.planned for value in information]
            spending_time = [min(fraction, 1.0) for fraction in fractions]
            if final:
                spending_time[-1] = 1.0
            solved = bounds(
                efficacy=self.efficacy, futility=self.futility, alpha=self.alpha, sides=self.sides, information=fractions, spending_time=spending_time, final=final
            )
            self._solved[key] = (float(solved.efficacy_z[-1]), float(solved.futility_z[-1]))
        return self._solved[key]

    def at(
        self, look: int, history: Int[Tensor, "replicate look"], final: Bool[Tensor, "replicate"]
    ) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """Bounds at a look (from 0), given the information observed up to and including it, and whether it is the last."""
        efficacy, futility = torch.full((len(final),), torch.nan, dtype=torch.float64), torch.full((len(final),), torch.nan, dtype=torch.float64)
        last = look == len(self.targets) - 1
        regular = torch.zeros_like(final) if self.by_calendar else (final == last)
        if regular.any():
            at_plan = self.at_last_of(self.targets[: look + 1], final=last)
            efficacy[regular], futility[regular] = at_plan
        for row in (~regular).nonzero()[:, 0].tolist():
            if self.by_calendar:
                information = tuple(float(value) for value in history[row])
            else:
                information = (*self.targets[:look], float(history[row, -1]))
            efficacy[row], futility[row] = self.at_last_of(_increasing(information), final=bool(final[row]))
        return efficacy, futility


def _increasing(information: Sequence[float]) -> tuple[float, ...]:
    """Looks without new information cannot spend: they are dropped from the history, save the last."""
    kept: list[float] = []
    for value in information:
        if kept and value <= kept[-1]:
            kept[-1] = value
        elif value > 0:
            kept.append(value)
    return tuple(kept) or (1.0,)
