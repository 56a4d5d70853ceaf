"""Outcomes of a fitted cohort given the baseline and the arm: event times, values at visits, censoring and missing cells."""

from __future__ import annotations

from trialsim.cohort.fitted.outcomes.censoring import FittedCensoring
from trialsim.cohort.fitted.outcomes.companions import Companions
from trialsim.cohort.fitted.outcomes.events import FittedEvent
from trialsim.cohort.fitted.outcomes.fitting import fit_outcomes
from trialsim.cohort.fitted.outcomes.missing import FittedMissing
from trialsim.cohort.fitted.outcomes.outcomes import FittedOutcomes
from trialsim.cohort.fitted.outcomes.spread import Spread
from trialsim.cohort.fitted.outcomes.values import FittedValue

__all__ = ["Companions", "FittedCensoring", "FittedEvent", "FittedMissing", "FittedOutcomes", "FittedValue", "Spread", "fit_outcomes"]
