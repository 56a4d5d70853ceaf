"""Cohort models fitted to patient-level data with Pyro (which is imported only while fitting)."""

from __future__ import annotations

from trialsim.cohort.fitted.cohort import FittedCohort, FittedColumn
from trialsim.cohort.fitted.events import FittedEvent
from trialsim.cohort.fitted.source import fit_cohort, fit_source
from trialsim.cohort.fitted.values import FittedValue

__all__ = ["FittedCohort", "FittedColumn", "FittedEvent", "FittedValue", "fit_cohort", "fit_source"]
