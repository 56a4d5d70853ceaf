"""Missing values at visits: multiple imputation at random or by reference to the control arm, and how its results are pooled."""

from trialsim.analysis.missing_data.imputation import Imputation
from trialsim.analysis.missing_data.imputed import estimate_imputed

__all__ = ["Imputation", "estimate_imputed"]
