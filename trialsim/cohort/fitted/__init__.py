"""Cohort models fitted to patient-level data with Pyro (which is imported only while fitting)."""

from __future__ import annotations

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.outcomes import FittedEvent, FittedValue
from trialsim.cohort.fitted.recipe import FittedRecipe
from trialsim.cohort.fitted.source import fit_cohort, fit_source
from trialsim.cohort.fitted.table import fit_table

__all__ = ["FittedCohort", "FittedColumn", "FittedEvent", "FittedRecipe", "FittedValue", "fit_cohort", "fit_source", "fit_table"]
