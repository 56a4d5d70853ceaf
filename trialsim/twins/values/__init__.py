"""Outcomes with values: single (`dist`) and longitudinal (`model`), one file each; the unions are the registries."""

from trialsim.twins.values.bernoulli import Bernoulli
from trialsim.twins.values.fitted import FittedValues
from trialsim.twins.values.linear_mixed import LinearMixed
from trialsim.twins.values.negative_binomial import NegativeBinomial
from trialsim.twins.values.normal import NormalValue
from trialsim.twins.values.not_yet import Joint, NonlinearMixed, OrdinaryDifferentialEquation, PharmacokineticPharmacodynamic, TwinTrajectory
from trialsim.twins.values.ordinal import Ordinal
from trialsim.twins.values.poisson import Poisson

SingleValue = NormalValue | Bernoulli | Ordinal | Poisson | NegativeBinomial
"""One value per patient, keyed by `dist`."""
Longitudinal = FittedValues | LinearMixed | NonlinearMixed | TwinTrajectory | PharmacokineticPharmacodynamic | OrdinaryDifferentialEquation | Joint
"""A value per visit, keyed by `model`."""

__all__ = ["Bernoulli", "FittedValues", "LinearMixed", "Longitudinal", "NegativeBinomial", "NormalValue", "Ordinal", "Poisson", "SingleValue"]
