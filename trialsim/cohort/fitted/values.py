"""Values at visits of a fitted cohort: they live in `outcomes/values.py`."""

from __future__ import annotations

from trialsim.cohort.fitted.outcomes.values import FittedValue, fit_value

__all__ = ["FittedValue", "fit_value"]
