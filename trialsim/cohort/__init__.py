"""Who the patients are: declared and fitted cohort models, and eligibility."""

from __future__ import annotations

from trialsim.cohort.correlation import Correlation
from trialsim.cohort.declared import DeclaredCohort
from trialsim.cohort.eligibility import Criterion, Eligibility, acceptance_rate, check_acceptance, check_criteria, draw_cohort
from trialsim.cohort.laws import LAWS, AnyLaw, CovariateLaw
from trialsim.cohort.model import CohortModel
from trialsim.cohort.population import DataSource, EventColumns, FittedSource, Population, Source, ValueColumns

__all__ = [
    "LAWS",
    "AnyLaw",
    "CohortModel",
    "Correlation",
    "CovariateLaw",
    "Criterion",
    "DataSource",
    "DeclaredCohort",
    "Eligibility",
    "EventColumns",
    "FittedSource",
    "Population",
    "Source",
    "ValueColumns",
    "acceptance_rate",
    "check_acceptance",
    "check_criteria",
    "draw_cohort",
]
