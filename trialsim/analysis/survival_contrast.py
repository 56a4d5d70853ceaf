"""What methods that contrast survival share: a larger estimate is better where events are bad, so signs are turned.

`favours` is about events, as for hazard ratios: -1 when fewer are better. An estimate of survival or of time without the
event then favours the test arm when it is *larger*.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.margins import wald_statistic_at
from trialsim.records import AnalysisData, Estimates


class SurvivalContrast(Analysis):
    """An analysis whose estimate grows as events become fewer."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "composite")

    def statistic_at(self, data: AnalysisData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:
        """Wald's statistic of a loss of survival of `value` towards more events; see `Analysis.statistic_at`."""
        return wald_statistic_at(found, -value, favours=-favours)
