"""The bounds an analysis meets at its looks, replicate by replicate.

Where every look is made at its planned information the bounds are solved once. Where it is not (calendar looks; a final
look that comes early because the planned one cannot be reached) they are solved once per distinct history of information
and kept. The last look of a trial spends all remaining alpha, whatever its information.

Source: spending at observed information, Lan & DeMets 1983, doi 10.1093/biomet/70.3.659.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.design import Bounds, Efficacy, Futility, HazardRatioAbove, SpendingLaw, bounds
from trialsim.design.spending import UserSpending


@dataclass(frozen=True)
class MonitoringPlan:
    """The looks of one analysis, compiled.

    `targets` are the planned information at its looks (events or patients) and `planned` is the total they are fractions
    of. `by_calendar`: spend at observed / planned information; `targets` then only count the looks. `test_share` is the
    share of the compared patients that is randomised to the test arm; `compared_share` is how much of the information is of
    the two compared arms, where it is counted over several.
    """

    alpha: float
    sides: int
    efficacy: Efficacy | None
    futility: Futility | None
    targets: tuple[float, ...]
    planned: float
    by_calendar: bool = False
    test_share: float = 0.5
    compared_share: float = 1.0
    _solved: dict[tuple[tuple[float, ...], bool], tuple[float, float]] = field(default_factory=dict, repr=False)
    _levels: dict[float, MonitoringPlan] = field(default_factory=dict, repr=False)

    @cached_property
    def at_plan(self) -> Bounds:
        """The bounds if every look is made at its planned information."""
        return self._bounds(self.targets)

    def at_level(self, alpha: float) -> MonitoringPlan:
        """The same looks and rules at another alpha (total over sides)."""
        if alpha not in self._levels:
            self._levels[alpha] = replace(self, alpha=alpha, _solved={}, _levels={})
        return self._levels[alpha]

    def at(
        self, look: int, history: Float[Tensor, "replicate look"], final: Bool[Tensor, "replicate"]
    ) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
        """Efficacy and futility bound (NaN: none) at a look of the analysis (from 0).

        `history` is the information at its looks up to and including this one: the target where it was reached, what was
        observed where not. `final`: the analysis has no look after this one.
        """
        efficacy = torch.full(final.shape, torch.nan, dtype=torch.float64)
        futility = torch.full(final.shape, torch.nan, dtype=torch.float64)
        planned = torch.tensor(self.targets[: look + 1], dtype=torch.float64)
        as_planned = torch.zeros_like(final) if self.by_calendar else (history == planned).all(-1) & (final == (look == len(self.targets) - 1))
        if as_planned.any():
            efficacy[as_planned] = float(self.at_plan.efficacy_z[look])
            futility[as_planned] = float(self.at_plan.futility_z[look])
        for row in (~as_planned).nonzero()[:, 0].tolist():
            efficacy[row], futility[row] = self._at_last_of(_increasing(history[row].tolist()), final=bool(final[row]))
        return efficacy, futility

    def information(self, look: int, observed: Int[Tensor, "replicate"], reached: Bool[Tensor, "replicate"]) -> Float[Tensor, "replicate"]:
        """What a look of the analysis counts as: its target where that was reached, else what was observed."""
        observed = observed.to(torch.float64)
        return observed if self.by_calendar else torch.where(reached, self.targets[look], observed)

    @cached_property
    def at_end_only(self) -> float:
        """The efficacy bound of an analysis made once, at its full alpha."""
        return float(bounds(efficacy=None, futility=None, alpha=self.alpha, sides=self.sides, information=(1.0,)).efficacy_z[-1])

    def _at_last_of(self, information: tuple[float, ...], *, final: bool) -> tuple[float, float]:
        """The bounds at the last of these looks, made at this information."""
        key = (information, final)
        if key not in self._solved:
            found = self._bounds(information, final=final, as_planned=False)
            self._solved[key] = float(found.efficacy_z[-1]), float(found.futility_z[-1])
        return self._solved[key]

    def _bounds(self, information: Sequence[float], *, final: bool = True, as_planned: bool = True) -> Bounds:
        fractions = [value / self.planned for value in information]
        by_hazard_ratio = isinstance(self.futility, HazardRatioAbove)
        return bounds(
            efficacy=self.efficacy,
            futility=self.futility,
            alpha=self.alpha,
            sides=self.sides,
            information=fractions,
            final=final,
            planned=None if as_planned or self.by_calendar else [value / self.planned for value in self.targets],
            events=[value * self.compared_share for value in information] if by_hazard_ratio else None,
            test_share=self.test_share if by_hazard_ratio else None,
        )

    @property
    def can_follow_the_calendar(self) -> bool:
        """Whether bounds exist at information that is not planned: spending functions only."""
        return self.efficacy is None or (isinstance(self.efficacy, SpendingLaw) and not isinstance(self.efficacy, UserSpending))


def _increasing(information: Sequence[float]) -> tuple[float, ...]:
    """The history without looks that brought no new information: they could not spend.

    A last look without a new event repeats the last test; both together spend what the latter's bound spends.
    """
    kept: list[float] = []
    for value in information:
        if kept and value <= kept[-1]:
            kept[-1] = value
        elif value > 0:
            kept.append(value)
    return tuple(kept) or (1.0,)
