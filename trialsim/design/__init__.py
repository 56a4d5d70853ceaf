"""Boundaries, spending functions and group sequential calculation."""

from __future__ import annotations

from trialsim.design.boundary import Boundary
from trialsim.design.efficacy import BayesianEfficacy, Efficacy
from trialsim.design.futility import Futility, FutilityRule, FutilityZ, HazardRatioAbove, SpendingFutility
from trialsim.design.spending import SpendingLaw

__all__ = ["BayesianEfficacy", "Boundary", "Efficacy", "Futility", "FutilityRule", "FutilityZ", "HazardRatioAbove", "SpendingFutility", "SpendingLaw"]
