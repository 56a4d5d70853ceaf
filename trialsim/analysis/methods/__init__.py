"""Statistical methods, one per file; `METHODS` is the registry: the members of the union over `method`."""

from trialsim.analysis.analysis import Analysis
from trialsim.analysis.methods.aalen_johansen import AalenJohansen
from trialsim.analysis.methods.ancova import Ancova
from trialsim.analysis.methods.average_hazard_ratio import AverageHazardRatio
from trialsim.analysis.methods.clda import Clda
from trialsim.analysis.methods.cmh import Cmh
from trialsim.analysis.methods.cox import Cox
from trialsim.analysis.methods.fine_gray import FineGray
from trialsim.analysis.methods.fisher import Fisher
from trialsim.analysis.methods.gee import Gee
from trialsim.analysis.methods.gray import Gray
from trialsim.analysis.methods.logistic import Logistic
from trialsim.analysis.methods.logrank import LogRank
from trialsim.analysis.methods.lwyy import Lwyy
from trialsim.analysis.methods.maxcombo import MaxCombo
from trialsim.analysis.methods.median_survival import MedianSurvival
from trialsim.analysis.methods.milestone import Milestone
from trialsim.analysis.methods.mmrm import Mmrm
from trialsim.analysis.methods.negative_binomial import NegativeBinomial
from trialsim.analysis.methods.not_yet import NOT_YET
from trialsim.analysis.methods.poisson import Poisson
from trialsim.analysis.methods.proportional_odds import ProportionalOdds
from trialsim.analysis.methods.proportions import Proportions
from trialsim.analysis.methods.rmst import Rmst
from trialsim.analysis.methods.t_test import TTest
from trialsim.analysis.methods.wilcoxon import Wilcoxon
from trialsim.analysis.methods.win_ratio import WinRatio

METHODS: tuple[type[Analysis], ...] = (
    LogRank,
    Cox,
    TTest,
    Ancova,
    WinRatio,
    AalenJohansen,
    Gray,
    FineGray,
    Proportions,
    Fisher,
    Cmh,
    Logistic,
    Poisson,
    NegativeBinomial,
    Mmrm,
    Clda,
    Wilcoxon,
    MaxCombo,
    Rmst,
    Milestone,
    MedianSurvival,
    AverageHazardRatio,
    ProportionalOdds,
    Gee,
    Lwyy,
    *NOT_YET,
)

__all__ = ["METHODS"]
