"""Statistical analyses: what they have in common, the methods, and what follows from their estimates."""

from trialsim.analysis.analysis import Analysis, Treatment
from trialsim.analysis.arm_hazard_ratio import cox_arm_only, score_at_log_hr
from trialsim.analysis.inference import confidence_interval, normal_statistic, p_value
from trialsim.analysis.margins import null_values
from trialsim.analysis.methods import METHODS
from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity

__all__ = [
    "METHODS",
    "Analysis",
    "GraphProcedure",
    "Multiplicity",
    "Treatment",
    "confidence_interval",
    "cox_arm_only",
    "normal_statistic",
    "null_values",
    "p_value",
    "score_at_log_hr",
]
