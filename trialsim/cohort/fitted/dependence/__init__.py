"""Kinds of dependence between the columns of a fitted cohort: one file each, and its name here."""

from __future__ import annotations

from collections.abc import Mapping

from trialsim.cohort.fitted.dependence.dependence import Dependence, Reducible
from trialsim.cohort.fitted.dependence.flow import Flow
from trialsim.cohort.fitted.dependence.gaussian_factors import GaussianFactors
from trialsim.cohort.fitted.dependence.latent_classes import LatentClasses

DEPENDENCES: Mapping[str, type[Dependence]] = {kind.kind: kind for kind in (GaussianFactors, LatentClasses, Flow)}
"""Every kind of dependence by its name in `model:` and in files."""

__all__ = ["DEPENDENCES", "Dependence", "Flow", "GaussianFactors", "LatentClasses", "Reducible"]
