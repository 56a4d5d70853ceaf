"""Outcomes with values: single (`dist`) and longitudinal (`model`), one file each; the unions are the registries."""

from trialsim.twins.values.fitted import FittedValues
from trialsim.twins.values.normal import NormalValue
from trialsim.twins.values.not_yet import (
    Bernoulli,
    Joint,
    LinearMixed,
    NegativeBinomial,
    NonlinearMixed,
    Ordinal,
    OrdinaryDifferentialEquation,
    PharmacokineticPharmacodynamic,
    Poisson,
    TwinTrajectory,
)

SingleValue = NormalValue | Bernoulli | Ordinal | Poisson | NegativeBinomial
"""One value per patient, keyed by `dist`."""
Longitudinal = FittedValues | LinearMixed | NonlinearMixed | TwinTrajectory | PharmacokineticPharmacodynamic | OrdinaryDifferentialEquation | Joint
"""A value per visit, keyed by `model`."""

__all__ = ["FittedValues", "LinearMixed", "Longitudinal", "NormalValue", "SingleValue"]
