"""Event times of a fitted cohort: they live in `outcomes/events.py`."""

from __future__ import annotations

from trialsim.cohort.fitted.outcomes.events import FittedEvent, fit_event

__all__ = ["FittedEvent", "fit_event"]
