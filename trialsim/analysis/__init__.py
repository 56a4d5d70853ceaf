"""Statistical analyses: what they have in common, and the methods."""

from trialsim.analysis.analysis import Analysis, Treatment
from trialsim.analysis.methods import METHODS
from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity

__all__ = ["METHODS", "Analysis", "GraphProcedure", "Multiplicity", "Treatment"]
