"""Mixed model for repeated measures: the difference at a visit, from all visits of all patients.

    y_it = μ_t + δ_t(arm i) + γ' z_i + e_it,      e_i ~ N(0, Σ) over a patient's visits,

by restricted maximum likelihood; the estimate is δ_t of test minus reference at the visit of the contrast. A mean at every
visit in every arm, covariates with one coefficient (`covariate_by_visit: true`: one per visit), Σ the same in all arms. Several
test arms are levels of one model. Values missing at random are as if they had been seen, whatever their pattern: nothing is
imputed. Visits count in the model even where they are not the one of the contrast.

Fails where an arm has no patient (2) or no value at one of the visits (8; further test arms without any patient are
ignored), where a visit does not vary once arm and covariates are known (3), where arm is a combination of covariates (4) and
where no maximum is found (5). A covariate that says nothing new is dropped, as in R's `lm`. Patients with a missing covariate
are left out. Strata and patient-specific slopes are not handled.

**Source:** Mallinckrodt, Clark & David 2001 (doi 10.1081/BIP-100104194); degrees of freedom and standard errors in
`repeated_measures.contrasts` and `sandwich`, covariances in `covariance`, the maximum in `fitting`. Definitions are those
of the R package mmrm 0.3.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trialsim.analysis.repeated_measures.options import RepeatedMeasures


class Mmrm(RepeatedMeasures):
    """Mixed model for repeated measures; see the module."""

    method: Literal["mmrm"] = Field(description="Mixed model for repeated measures.")
