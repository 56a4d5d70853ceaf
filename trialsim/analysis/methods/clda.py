"""Constrained longitudinal data analysis: the baseline is the first visit, and randomisation makes its means equal.

    y_i0 = μ_0 + γ' z_i + e_i0,     y_it = μ_t + δ_t(arm i) + γ' z_i + e_it  for the visits after baseline,     e_i ~ N(0, Σ),

by restricted maximum likelihood, Σ over the baseline and the visits; the estimate is δ_t of test minus reference at the visit
of the contrast. Values are the endpoint's own, not changes from baseline (with an unstructured Σ the two give the same
estimate). A patient with a baseline only counts, and one without a baseline too. Options, failures and what is not handled are those of `mmrm`; without a
baseline in the data there is nothing to analyse.

**Source:** Liang & Zeger 2000 (Sankhya B 62: 134-148); Liu, Lu, Mogg, Mallick & Mehrotra 2009 (doi 10.1002/sim.3607).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trialsim.analysis.repeated_measures.options import RepeatedMeasures


class Clda(RepeatedMeasures):
    """Constrained longitudinal data analysis; see the module."""

    constrained: ClassVar[bool] = True
    method: Literal["clda"] = Field(description="Constrained longitudinal data analysis.")
