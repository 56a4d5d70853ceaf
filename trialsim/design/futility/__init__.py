"""Futility rules, one a file. A new one is a new file and its name in `FUTILITY`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialsim.design.choice import choice
from trialsim.design.futility.conditional_power_below import ConditionalPowerBelow
from trialsim.design.futility.hazard_ratio_above import HazardRatioAbove
from trialsim.design.futility.predictive_probability_below import PredictiveProbabilityBelow
from trialsim.design.futility.rule import FutilityRule
from trialsim.design.futility.spending import SPENDING_FUTILITY, SpendingFutility
from trialsim.design.futility.z import FutilityZ

FUTILITY: tuple[type[FutilityRule], ...] = (*SPENDING_FUTILITY, FutilityZ, HazardRatioAbove, ConditionalPowerBelow, PredictiveProbabilityBelow)

if TYPE_CHECKING:
    Futility = FutilityRule
else:
    Futility = choice("futility", FUTILITY, "{z: [0]}")

__all__ = ["FUTILITY", "ConditionalPowerBelow", "Futility", "FutilityRule", "FutilityZ", "HazardRatioAbove", "PredictiveProbabilityBelow", "SpendingFutility"]
