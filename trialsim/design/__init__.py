"""Boundaries, spending functions and group sequential calculation."""

from __future__ import annotations

from trialsim.design.boundary import Boundary
from trialsim.design.bounds import Bounds, bounds
from trialsim.design.efficacy import BayesianEfficacy, Efficacy
from trialsim.design.futility import Futility, FutilityRule, FutilityZ, HazardRatioAbove, SpendingFutility
from trialsim.design.integration import Crossing, crossing_probabilities
from trialsim.design.spending import SpendingLaw

__all__ = [
    "BayesianEfficacy",
    "Boundary",
    "Bounds",
    "Crossing",
    "Efficacy",
    "Futility",
    "FutilityRule",
    "FutilityZ",
    "HazardRatioAbove",
    "SpendingFutility",
    "SpendingLaw",
    "bounds",
    "crossing_probabilities",
]
