"""Weights over time for log-rank tests, as functions of the pooled Kaplan-Meier estimate just before each event.

S(t-) is the left-continuous estimate of both (all) arms together, within the stratum where there are strata.

**Source:** Fleming & Harrington 1991, section 7.3 (doi 10.1002/9781118150672); Peto & Peto 1972 (doi 10.2307/2344317);
Magirr & Burman 2019 (doi 10.1002/sim.8186).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from trialsim.parts import Part
from trialsim.units import Number, PositiveTime

SMALLEST = 1e-300
"""Where no one is left S(t-) may be 0; no event is there, so its weight is multiplied by 0 and only has to be finite."""


class FlemingHarrington(Part):
    """Weights S(t-)^rho (1 - S(t-))^gamma; 0^0 is 1."""

    rho: Annotated[Number, Field(ge=0)] = Field(default=0.0, description="Positive: early differences count more.")
    gamma: Annotated[Number, Field(ge=0)] = Field(default=0.0, description="Positive: late differences count more.")

    def weight(self, survival: Float[Tensor, "replicate rank"], before: Float[Tensor, "replicate rank"], time: Tensor) -> Float[Tensor, "replicate rank"]:
        """The weight of every rank: `survival` at and `before` just before its `time`."""
        return fleming_harrington(before, rho=self.rho, gamma=self.gamma)


class FlemingHarringtonWeights(Part):
    fleming_harrington: FlemingHarrington = Field(description="S(t-)^rho (1 - S(t-))^gamma.")

    def weight(self, survival: Tensor, before: Tensor, time: Tensor) -> Float[Tensor, "replicate rank"]:
        """See `FlemingHarrington.weight`."""
        return self.fleming_harrington.weight(survival, before, time)


class PetoPeto(Part):
    """Has no options."""


class PetoPetoWeights(Part):
    peto_peto: PetoPeto | None = Field(description="Weights S(t-), the Peto-Peto form of the Gehan-Wilcoxon test (rho = 1 of `survdiff` in R).")

    def weight(self, survival: Tensor, before: Tensor, time: Tensor) -> Float[Tensor, "replicate rank"]:
        """S(t-)."""
        return before


class MagirrBurman(Part):
    delay: PositiveTime = Field(description="Weights rise as 1 / S(t-) until this time and stay there (Magirr and Burman 2019, doi 10.1002/sim.8186).")


class MagirrBurmanWeights(Part):
    magirr_burman: MagirrBurman = Field(description="Modestly weighted: 1 / max(S(t-), S(delay-)).")

    def weight(self, survival: Tensor, before: Tensor, time: Tensor) -> Float[Tensor, "replicate rank"]:
        """1 / max(S(t-), S(delay-)): an event at the delay itself does not count towards the cap (as in nphRCT)."""
        at_delay = torch.where(time < self.magirr_burman.delay, survival, 1.0).amin(-1)
        return 1.0 / torch.maximum(before, at_delay[:, None]).clamp(min=SMALLEST)


def _named(given: Any) -> Any:
    return {given: None} if given == "peto_peto" else given


Weights = Annotated[FlemingHarringtonWeights | PetoPetoWeights | MagirrBurmanWeights, BeforeValidator(_named)]


def fleming_harrington(before: Float[Tensor, "replicate rank"], *, rho: float, gamma: float) -> Float[Tensor, "replicate rank"]:
    """S(t-)^rho (1 - S(t-))^gamma."""
    early, late = _power(before, rho), _power(1.0 - before, gamma)
    if early is None or late is None:
        return next((factor for factor in (early, late) if factor is not None), torch.ones_like(before))
    return early * late


def _power(base: Tensor, exponent: float) -> Tensor | None:
    """None for the exponent 0. Not `**`: the last bit of torch's power depends on where in a tensor the number stands."""
    if exponent == 0:
        return None
    if exponent in (1, 2):
        return base if exponent == 1 else base * base
    return base.sqrt() if exponent == 0.5 else torch.exp(exponent * torch.log(base))
